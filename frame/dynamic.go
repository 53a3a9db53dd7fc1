package frame

// codeOrder is the order of the code lengths of the code length alphabet (RFC 1951, 3.2.7).
var codeOrder = [...]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// readCodes decodes the codes of a block with dynamic codes. ok is false if it stops before the end.
func (z *inflater) readCodes() (stop inflateStop, ok bool) {
	if z.mode == codeCounts {
		if !z.need(14) {
			return needInput, false
		}
		z.literals, z.dists, z.codes, z.at = 257+z.take(5), 1+z.take(5), 4+z.take(4), 0
		if z.literals > 286 || z.dists > 30 {
			return corrupt, false
		}
		clear(z.lengths[:len(codeOrder)])
		z.mode = codeLengthLengths
	}
	if z.mode == codeLengthLengths {
		for ; z.at < z.codes; z.at++ {
			if !z.need(3) {
				return needInput, false
			}
			z.lengths[codeOrder[z.at]] = uint8(z.take(3))
		}
		if !z.dynamic[0].init(z.lengths[:len(codeOrder)]) {
			return corrupt, false
		}
		z.at = 0
		z.mode = codeLengths
	}
	all := z.literals + z.dists
	for z.at < all {
		z.need(14) // a code of up to 7 bits and 7 extra bits; most need fewer
		entry := z.dynamic[0].root[z.b&rootMask]
		k := uint(entry & 15)
		if k == 0 || k > z.n {
			if k == 0 && z.n >= uint(z.dynamic[0].maxLen) {
				return corrupt, false
			}
			return needInput, false
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
		case 16: // repeat the previous length 3 to 6 times
			if z.at == 0 {
				return corrupt, false
			}
			extra, times, length = 2, 3, z.lengths[z.at-1]
		case 17: // repeat 0 for 3 to 10 times
			extra, times = 3, 3
		default: // repeat 0 for 11 to 138 times
			extra, times = 7, 11
		}
		if z.n < k+extra {
			return needInput, false
		}
		z.take(k)
		times += z.take(extra)
		if z.at+times > all {
			return corrupt, false
		}
		for range times {
			z.lengths[z.at] = length
			z.at++
		}
	}
	z.litCodes, z.distCodes = &z.dynamic[0], &z.dynamic[1]
	if !z.litCodes.init(z.lengths[:z.literals]) || !z.distCodes.init(z.lengths[z.literals:all]) {
		return corrupt, false
	}
	z.budget -= codesWork
	z.mode = blockSymbols
	return 0, true
}
