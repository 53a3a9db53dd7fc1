package listen

import "os"

// Descriptor returns the descriptor of a listener's file, for another process. Unlike File.Fd it
// does not have the listener block, which would concern this process, too, while it serves it.
func Descriptor(f *os.File) (fd int, err error) {
	raw, err := f.SyscallConn()
	if err == nil {
		err = raw.Control(func(n uintptr) { fd = int(n) })
	}
	return fd, err
}
