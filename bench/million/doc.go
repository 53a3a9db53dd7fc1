// Package million holds a million connections, or another number, to one server process. Each has its own user and its
// heartbeat. Then all receive one broadcast, and a thousand random users receive one push each, and every message is
// checked.
//
// Both ends of a connection are on this machine, so it takes two descriptors and about 9 KiB of kernel memory in addition
// to what the server uses. Where the descriptor limit is too low, Boot runs the same inside user-mode Linux: a kernel as an
// ordinary process, in which the limits can be set. That kernel has one processor and slow system calls, so times mean
// little there; memory and counts are the same.
package million
