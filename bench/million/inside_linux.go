package million

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Files for communication between the outer and the inner machine, which share the file system.
const (
	configFile = "config.json"
	answerFile = "answer.json"
)

// dirEnv is the environment variable that names the directory of those files.
const dirEnv = "FANFARE_BENCH_MILLION"

// IsInit reports whether this process is the first one inside user-mode Linux, which has to call Init.
func IsInit() bool { return os.Getpid() == 1 && os.Getenv(dirEnv) != "" }

// Init configures the machine, runs this program again as Inside, and halts the machine.
func Init() {
	defer unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	if err := setUp(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "million: inside:", err)
		return
	}
	cmd := exec.Command(self, "million-inside", os.Getenv(dirEnv))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "PATH=/usr/sbin:/usr/bin:/sbin:/bin", insideEnv+"=user-mode Linux")
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "million: inside:", err)
	}
}

func setUp() error {
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("million: inside: /proc: %w", err)
	}
	const files = 4_000_000
	// TCP counts a whole page for a socket with a few unread bytes, so a broadcast to a million connections counts
	// for 4 GiB at each end; beyond the limit, packets are dropped and sent again seconds later (tcp(7)).
	const tcpPages = "4000000 4000000 4000000"
	for name, value := range map[string]any{
		"fs/nr_open": files, "fs/file-max": 2 * files, "net/core/somaxconn": 4096, "net/ipv4/tcp_mem": tcpPages,
	} {
		if err := os.WriteFile(filepath.Join("/proc/sys", name), fmt.Append(nil, value), 0); err != nil {
			return fmt.Errorf("million: inside: %w", err)
		}
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: files, Max: files}); err != nil {
		return fmt.Errorf("million: inside: descriptor limit: %w", err)
	}
	// ip link set lo up
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return fmt.Errorf("million: inside: socket: %w", err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("million: inside: %w", err)
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFFLAGS, uintptr(unsafe.Pointer(request))); errno != 0 {
		return fmt.Errorf("million: inside: loopback: %w", errno)
	}
	return nil
}

// Inside runs inside user-mode Linux what Boot was asked for, and writes the result to dir.
func Inside(ctx context.Context, dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, configFile))
	if err != nil {
		return err
	}
	var c Config
	if err := json.Unmarshal(b, &c); err != nil {
		return err
	}
	var a struct {
		Result *Result
		Error  string
	}
	a.Result, err = Run(ctx, c, func(format string, args ...any) { fmt.Printf("  "+format+"\n", args...) })
	if err != nil {
		a.Error = err.Error()
	}
	if b, err = json.Marshal(a); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, answerFile), b, 0o600)
}
