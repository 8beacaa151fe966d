"""What runs inside a sandbox: one warm interpreter that forks a confined child for each program.

The harness starts ``python -s -S -P -c 'from evals.slot.main import main; main()'`` with an empty
environment.  Nothing here imports anything but the standard library, and nothing of the harness: a
program that reads its own memory finds no test, key or answer in it.

    main     the slot's life: walls, warm-up, one job after another
    control  its end of the line to the harness
    walls    which walls there are, and what the slot must know of them
    room     namespaces and the private root
    landlock files, sockets and signals, where there are no namespaces
    kernel   the system calls that Python lacks, by ctypes
    seccomp  the system calls that a program may not make
    job      what a child does: confine itself, then run the program, or serve calls, or run the test
    watch    what the slot does meanwhile: time, memory, output; and nothing left afterwards
    group    what the kernel counts, where there is a control group
    processes what /proc says of a job's processes
    commands the same for other languages: a program's files, then the commands that compile and run them
    directory the working directory of a job
    codec    plain data across the border between a test and the program it tests
"""
