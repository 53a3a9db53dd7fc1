package limit

// connections leaves the reserve of Descriptors out of n.
func connections(n int) int { return max(n-max(n/16, 64), 1) }
