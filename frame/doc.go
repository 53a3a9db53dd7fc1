// Package frame is the WebSocket wire format, RFC 6455, and its compression,
// RFC 7692, as a server sees them: a decoder that can stop after any byte and go
// on with the next, and encoders that append to byte slices. It never sees a
// descriptor or an io.Reader, so no peer can make it wait.
//
// # Decoding
//
// A [Decoder] is the state of one connection between two reads: one pointer,
// nil while nothing is half received. [Decoder.Next] is fed what a read
// returned and gives one message at a time:
//
//	for {
//		m, n, err := d.Next(rules, in)
//		in = in[n:]
//		if err != nil {
//			return err // a *CloseError: send a close frame with its code
//		}
//		if m.Op != 0 {
//			handle(m)
//		} else if len(in) == 0 {
//			break // nothing complete is left
//		}
//	}
//
// The loop ends with the call that finds nothing, also when in is empty before
// it: that call takes back the buffer which the last message was lent. Text and
// binary messages come whole, unmasked, inflated and checked. Control frames
// come as they arrive, also between the fragments of a message; a close frame
// is the last, what follows it is ignored (RFC 6455, 5.5.1).
//
// How the input was cut into reads changes neither the messages nor the error.
// Text is checked as it arrives, so a message fails at its first byte that is
// no UTF-8, whether or not the rest will ever come, and compressed or not.
//
// # Borrowed memory
//
// Next unmasks in place: it writes to in, even if it fails. The payload of a message is borrowed
// until the next call of Next or Release. It points into in when the message
// was one uncompressed frame and all of it was there, which costs no copy and
// no allocation, or into a pooled buffer of the decoder when it was not.
// Frames from [Prepared] are shared by all receivers and must not be written to.
//
// # Compression
//
// [Rules.Negotiate] answers a client's offer of permessage-deflate, and
// [Decoder.Start] and [Prepared.Deflated] follow what it returned. Nothing is
// kept between messages by default, in either direction. An outgoing message is
// compressed once for all of its receivers, which a context would forbid, so the
// server never has one. The clients may keep theirs if [Deflate].ContextBits
// says so; the decoder then holds as much for each.
//
// An incoming message is inflated as it arrives, so that text which is no UTF-8,
// corrupt data and a bomb all fail with the byte that makes them so. No library
// has a reader that can stop after any byte, so this one is our own. It works on
// the message itself instead of a window of 32 KiB: what a peer that stops in the
// middle holds beside its buffer are the 4 KiB of a block's codes, from a pool
// that takes them back with the message's last byte.
//
// # What a peer can make the decoder hold
//
// Nothing is allocated on a declared length: buffers grow with the bytes that
// arrived, by doubling, up to [Rules].MaxMessage, and a frame that would exceed
// it is refused at its header. A stopped frame costs one state of 112 bytes
// beside its buffer, a stopped header the state alone, a stopped compressed
// message 4 KiB more. What comes out of that one is limited like what came: by
// MaxMessage, and to MaxRatio times the bytes that are there of it. A decoder
// between messages holds nothing, or its context.
//
// Nor can a peer keep Next busy: whatever a read has, Next returns after some work,
// 10 to 100 µs, without a message, so that the caller may go on with it later. Only
// a buffer beyond 64 KiB, where MaxMessage allows one, is moved at once when it
// doubles, in 0.2 ms for 1 MiB.
//
// # Fuzzing
//
// Each target compares the package with something else: a decoder written from
// the RFCs' text, gobwas/ws, the standard library. Each ran for ten minutes on
// 2026-11-25 on one of two busy cores and found nothing:
//
//	go test -run '^$' -fuzz '^FuzzDecoder$' -fuzztime 10m -fuzzminimizetime 1s -parallel 1 ./frame
//
//	FuzzDecoder  1,209,455 executions
//	FuzzFrames   1,054,462
//	FuzzInflate  1,533,387
//	FuzzDeflate    252,959
//	FuzzClose    3,056,073
//	FuzzUTF8     2,409,212
//
// With Go 1.26 a run may end with "context deadline exceeded" and no input, as that
// of FuzzFrames did: its time was over (golang/go#75804).
//
// # Limitations
//
// The decoder is a server's: it refuses frames that are not masked, and the
// encoders do not mask. A message is delivered when it is whole, there is no
// streaming of parts. A message may have a hundred empty fragments; there is no
// limit on the number of others or of control frames, each of which costs its
// peer six bytes at least: whoever feeds the decoder limits the bytes. No
// extension but permessage-deflate is known.
package frame
