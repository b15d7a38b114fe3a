"""The part of the EC2 API that concerns machines: starting, showing and ending them. moto answers the rest."""
