# Brings memory into the state that it has on a machine that has run for long. Sourced by scripts beside this folder.
# shellcheck shell=bash

# fill_memory FILE: has the page cache take all memory that is free, with zeros of a file that takes no room on the disk. The host
# of a virtual machine gives it a page when that is first written to, which takes up to 10 µs, and takes back what was freed.
fill_memory() {
    local free
    free=$(awk '/^MemFree:/ { print $2 "K" }' /proc/meminfo)
    # What it has already stays in memory.
    truncate -s "+$free" "$1"
    tail -c "$free" "$1" >/dev/null
}
