package keep

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"fanfare/server"
)

// mostMarks bounds the memory: 64 MiB of addresses, of which the kernel allocates the pages
// that are used.
const mostMarks = 4 << 20

// newMemory returns memory for the marks of all descriptors that a process may have.
func newMemory() (f *os.File, err error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return nil, os.NewSyscallError("getrlimit", err)
	}
	fd, err := unix.MemfdCreate("fanfare-marks", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f = os.NewFile(uintptr(fd), "marks")
	if err := f.Truncate(int64(min(limit.Max, mostMarks)) * int64(server.MarkSize)); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// mapMarks returns the marks in memory, which stay mapped until the process ends or unmap is
// called.
func mapMarks(f *os.File) (server.Marks, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	memory, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("keep: map the marks: %w", err)
	}
	return server.MarksIn(memory), nil
}

func unmap(m server.Marks) {
	unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(m))), len(m)*server.MarkSize))
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

func duplicate(fd int) (int, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	return dup, os.NewSyscallError("fcntl", err)
}

// sendLast sends what the socket accepts, and ends the stream in that direction.
func sendLast(fd int, b []byte) {
	if len(b) > 0 {
		unix.SendmsgN(fd, b, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	}
	unix.Shutdown(fd, unix.SHUT_WR)
}

// end closes a socket. What the peer has sent is read first, because a close with unread bytes
// resets the connection, and then the peer may not read what was sent last.
func end(fd int) {
	var buf [4 << 10]byte
	for range 16 {
		if n, _, err := unix.Recvfrom(fd, buf[:], unix.MSG_DONTWAIT); n <= 0 || err != nil {
			break
		}
	}
	unix.Shutdown(fd, unix.SHUT_RDWR)
	unix.Close(fd)
}

// pair returns the ends of a Unix stream socket.
func pair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "keeper"), os.NewFile(uintptr(fds[1]), "server"), nil
}
