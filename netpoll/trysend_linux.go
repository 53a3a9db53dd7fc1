package netpoll

func trySend(fd uintptr, b []byte) (int, error) { return send(int(fd), b) }
