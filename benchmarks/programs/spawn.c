/* The limit of running commands: posix_spawn of one program, so many times, so many at a time. spawn N WIDTH PROGRAM */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

extern char **environ;

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    long n = atol(argv[1]), width = atol(argv[2]), running = 0;
    char *command[] = {argv[3], NULL};
    for (long k = 0; k < n; k++) {
        pid_t pid;
        if (running == width) { wait(NULL); running--; }
        if (posix_spawn(&pid, argv[3], NULL, NULL, command, environ)) { perror(argv[3]); return 1; }
        running++;
    }
    while (running-- > 0) wait(NULL);
    return 0;
}
