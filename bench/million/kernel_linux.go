package million

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// User-mode Linux saves the vector registers of its processes in 2,696 bytes. On a processor with AMX they have 11,008
// bytes, the outer kernel rejects a part of them, and the inner kernel panics at its first process. User-mode Linux also
// has an older way, for SSE only, which it uses if it cannot read these registers at all. So Exec makes that request fail,
// and no program inside may use AVX (see debugInside).

// bigRegisters reports whether the processor has more registers than user-mode Linux can save.
func bigRegisters() bool {
	b, err := os.ReadFile("/proc/cpuinfo")
	return err == nil && strings.Contains(string(b), " amx_tile")
}

// debugInside is the GODEBUG of all programs inside. It avoids timers, each of which is an expensive signal in the outer
// kernel, and restricts programs to SSE if necessary.
func debugInside() string {
	if bigRegisters() {
		return "asyncpreemptoff=1,cpu.all=off"
	}
	return "asyncpreemptoff=1"
}

// Exec executes the kernel, argv[0], after it has forbidden this thread to read extended registers.
func Exec(argv []string) error {
	if len(argv) == 0 {
		return errors.New("million: no kernel to become")
	}
	runtime.LockOSThread()
	const (
		getRegset  = 0x4204 // PTRACE_GETREGSET, the first argument
		xstate     = 0x202  // NT_X86_XSTATE, the third
		offsetNr   = 0      // of struct seccomp_data
		offsetArg0 = 16
		offsetArg2 = 32
	)
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	unless := func(value uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jf: skip}
	}
	end := func(action uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
	}
	program := []unix.SockFilter{
		load(offsetNr), unless(unix.SYS_PTRACE, 5),
		load(offsetArg0), unless(getRegset, 3),
		load(offsetArg2), unless(xstate, 1),
		end(unix.SECCOMP_RET_ERRNO | uint32(unix.EINVAL)),
		end(unix.SECCOMP_RET_ALLOW),
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("million: no_new_privs: %w", err)
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&filter)), 0, 0); err != nil {
		return fmt.Errorf("million: seccomp: %w", err)
	}
	return fmt.Errorf("million: %s: %w", argv[0], syscall.Exec(argv[0], argv, os.Environ()))
}
