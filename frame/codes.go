package frame

// The order of the code lengths of the code length alphabet (RFC 1951, 3.2.7).
var codeOrder = [...]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// header reads the codes of a block. It is false if it stops before the end.
func (z *inflater) header() (stop inflateStop, ok bool) {
	if z.mode == atCodes {
		if !z.need(14) {
			return wantsInput, false
		}
		z.literals, z.dists, z.codes, z.at = 257+z.take(5), 1+z.take(5), 4+z.take(4), 0
		if z.literals > 286 || z.dists > 30 {
			return isCorrupt, false
		}
		clear(z.lengths[:len(codeOrder)])
		z.mode = inCodes
	}
	if z.mode == inCodes {
		for ; z.at < z.codes; z.at++ {
			if !z.need(3) {
				return wantsInput, false
			}
			z.lengths[codeOrder[z.at]] = uint8(z.take(3))
		}
		if !z.own[0].init(z.lengths[:len(codeOrder)]) {
			return isCorrupt, false
		}
		z.at = 0
		z.mode = inLengths
	}
	all := z.literals + z.dists
	for z.at < all {
		z.need(14) // a code of 7 bits and 7 more; fewer will do for most
		entry := z.own[0].root[z.b&rootMask]
		k := uint(entry & 15)
		if k == 0 || k > z.n {
			if k == 0 && z.n >= uint(z.own[0].most) {
				return isCorrupt, false
			}
			return wantsInput, false
		}
		symbol := entry >> 4
		if symbol < 16 {
			z.take(k)
			z.lengths[z.at] = uint8(symbol)
			z.at++
			continue
		}
		var extra uint
		var times int
		var length uint8
		switch symbol {
		case 16: // the one before, 3 to 6 times
			if z.at == 0 {
				return isCorrupt, false
			}
			extra, times, length = 2, 3, z.lengths[z.at-1]
		case 17: // 0, 3 to 10 times
			extra, times = 3, 3
		default: // 0, 11 to 138 times
			extra, times = 7, 11
		}
		if z.n < k+extra {
			return wantsInput, false
		}
		z.take(k)
		times += z.take(extra)
		if z.at+times > all {
			return isCorrupt, false
		}
		for range times {
			z.lengths[z.at] = length
			z.at++
		}
	}
	z.lit, z.dst = &z.own[0], &z.own[1]
	if !z.lit.init(z.lengths[:z.literals]) || !z.dst.init(z.lengths[z.literals:all]) {
		return isCorrupt, false
	}
	z.work -= codesWork
	z.mode = atSymbol
	return 0, true
}
