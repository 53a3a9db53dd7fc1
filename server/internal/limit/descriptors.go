package limit

// Descriptors returns the number of connections that the descriptor limit permits beside
// a reserve of 1/16, at least 64, for listeners, the API, files and what else a
// program opens.
func Descriptors() int {
	if n := OpenFiles(); n > 0 {
		return connections(n)
	}
	return 1 << 20
}

// connections returns n less the descriptors kept in reserve, see Descriptors.
func connections(n int) int { return max(n-max(n/16, 64), 1) }
