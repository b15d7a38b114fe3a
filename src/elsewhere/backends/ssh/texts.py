"""What a host behind SSH is told to run, as text for its POSIX shell; `BASE` stands before each."""

from __future__ import annotations

# The first words of every text: where everything of ours is on that host. `$1` is never a user's word.
# Each command that is spared in these is one less to wait for: a first call waits for all of them.
BASE = (
    "umask 077; base=${HOME:-/root}/$1; shift; "
    '[ -d "$base/machines" ] && [ -d "$base/cache" ] || mkdir -p "$base/machines" "$base/cache" || exit 73\n'
)
# As in local.py: the name `pid` decides who starts it, whoever stops it first leaves word. If something lacks that it
# fetches nothing is started; that is told. `$5`: the job whose agent is dialled by the same command, or empty.
START = """\
here=$base/machines/$1 labels=$2 boot=$4 job=$5 lacks= now=$(date +%s)
export ELSEWHERE_MACHINE=$1 ELSEWHERE_AHEAD=$((now - $3)) now; shift 5
for key do [ -e "$base/cache/$key" ] || lacks="$lacks $key"; done
[ -z "$lacks" ] || { echo "$base"; printf '%s\n' $lacks; exit 66; }
mkdir -p "$here" && cd "$here" || exit 73
if [ ! -e pid ] && [ ! -e cancelled ]; then
printf %s "$boot" >boot.$$ && mv -f boot.$$ boot && printf %s "$labels" >labels.$$ && mv -f labels.$$ labels || exit 73
set=; command -v setsid >/dev/null 2>&1 && set=setsid
$set sh -c '
  set -C; echo $$ 2>/dev/null >pid || exit 0
  set +C; read -r life 2>/dev/null </proc/sys/kernel/random/boot_id && echo "$life" >life
  echo "$now" >started; unset now
  trap : TERM INT HUP
  ( [ -e cancelled ] && exit 143; exec sh ./boot ) </dev/null >>log 2>&1; echo $? >ended; date +%s >stopped
' </dev/null >/dev/null 2>&1 &
fi
[ -n "$job" ] || exit 0
set -- "$job"; cd "$base" && echo begun
"""
LIST = """\
boot_id=/proc/sys/kernel/random/boot_id
date +%s; cd "$base/machines" && life= && [ ! -r $boot_id ] || read -r life <$boot_id
for name in *; do
  [ -e "$name/labels" ] || continue
  state=pending status=- started=- stopped=-
  [ -s "$name/started" ] && read -r started <"$name/started"
  [ -s "$name/stopped" ] && read -r stopped <"$name/stopped"
  if [ -s "$name/ended" ]; then state=ended; read -r status <"$name/ended"
  elif [ -s "$name/pid" ]; then
    read -r pid <"$name/pid"; state=running
    [ ! -s "$name/life" ] || ! read -r its <"$name/life" || [ "$life" = "$its" ] || state=lost
    [ $state = lost ] || kill -0 "$pid" 2>/dev/null || kill -s 0 -- "-$pid" 2>/dev/null || state=lost
  elif [ -e "$name/cancelled" ]; then state=ended; fi
  read -r labels <"$name/labels" || [ -n "$labels" ] || continue
  printf '%s %s %s %s %s %s\n' "$name" $state $status $started $stopped "$labels"
done"""
# Who is asked to end has ten seconds for it: then it is killed, if it is asked again.
STOP = """\
now=$(date +%s)
for name do
  cd "$base/machines/$name" 2>/dev/null || continue
  signal=TERM since=$now
  [ -s cancelled ] && read -r since <cancelled || echo "$now" >cancelled
  [ $((now - since)) -ge 10 ] || [ "$since" -gt "$now" ] && signal=KILL
  ( set -C; : >pid ) 2>/dev/null && continue
  read -r pid <pid && kill -s $signal -- "-$pid" 2>/dev/null
done; exit 0"""
# An agent that boots makes its bridge before long: whoever dials is there by then.
DIAL = """\
bridge=$base/jobs/$1/bridge k=0
until [ -e "$bridge" ] || [ $k -ge 1000 ]; do k=$((k + 1)); sleep 0.02 2>/dev/null || { sleep 1; k=$((k + 49)); }; done
exec sh "$bridge" """
HAS = 'echo "$base"; cd "$base/cache" && for key do [ -e "$key" ] && touch "$key" && echo "$key"; done; exit 0'
LOG = 'cd "$base/machines/$1" 2>/dev/null || exit 66; [ -e log ] || exit 0; exec tail -c "+$2" log'
FORGET = """\
boot_id=/proc/sys/kernel/random/boot_id life=; [ ! -r $boot_id ] || read -r life <$boot_id
for name do
  cd "$base/machines/$name" 2>/dev/null || continue; its=$life pid=
  [ ! -s life ] || read -r its <life; [ ! -s pid ] || read -r pid <pid
  [ -s ended ] || [ "$life" != "$its" ] || { [ -n "$pid" ] && ! kill -s 0 -- "-$pid" 2>/dev/null; } || continue
  cd "$base" && rm -rf -- "machines/$name"; done
for job in "$base"/jobs/*; do
  [ -d "$job" ] && ! grep -qsF "\\"${job##*/}\\"" "$base"/machines/*/labels && rm -rf -- "$job"; done; exit 0"""
