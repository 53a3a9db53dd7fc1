// Package frame implements the WebSocket wire format, RFC 6455, and permessage-deflate, RFC 7692, for a
// server: a decoder that can stop after any byte and continue with the next, and encoders that append to
// byte slices. It uses no descriptor and no io.Reader, so no client can make it block.
//
// # Decoding
//
// A [Decoder] is the state of one connection between two reads: one pointer, nil while no message is
// incomplete. The caller passes the bytes of each read to [Decoder.Next] until they are consumed, and once
// more to end the loan of the last payload:
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
//			break // no complete message is left
//		}
//	}
//
// Text and binary messages are reassembled, unmasked, inflated and checked. Control frames are returned as
// they arrive, also between the fragments of a message. After a close frame all input is ignored (RFC 6455,
// 5.5.1).
//
// The result does not depend on how the input is cut into reads. Text is checked as it arrives, so a message
// fails at its first byte that is not valid UTF-8, compressed or not.
//
// # Borrowed memory
//
// Next unmasks in place: it writes to its input, even when it returns an error. The payload of a message is
// borrowed until the next call of Next or Release. It is part of the input if the message is one
// uncompressed frame and arrived in one read, else part of a pooled buffer of the decoder. All receivers of
// a [Prepared] share its frames, so no caller may write to them.
//
// # Compression
//
// [Rules.Negotiate] answers a client's offer; pass its result to [Decoder.Start] and [Prepared.Deflated]. An
// outgoing message is compressed once for all receivers, so the server never keeps a context. Clients may
// keep one if [Deflate].ContextBits allows it, which costs the decoder as much memory for each connection.
//
// # What a client can cost
//
// No memory is allocated for a declared length: buffers grow with the bytes that arrive, up to
// [Rules].MaxMessage, and a frame that would exceed it is rejected at its header. Inflated bytes are limited
// by MaxMessage and MaxRatio as they are produced. Next returns after a limited amount of work even if no
// message is complete. Faults are shared values, so hostile input allocates nothing.
//
// # Limitations
//
// The decoder accepts frames of clients only, and the encoders do not mask. There is no streaming: a message
// is delivered when it is complete. A message may have at most a hundred empty fragments; the number of other
// fragments and of control frames is not limited, so the caller limits the bytes per second. The only
// extension is permessage-deflate.
package frame
