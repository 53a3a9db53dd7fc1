package limit

// connections returns n less the descriptors kept in reserve, see Descriptors.
func connections(n int) int { return max(n-max(n/16, 64), 1) }
