// Package subject maps boxes and positions to the streams and subjects of JetStream,
// and says where the offsets of a new stream begin.
package subject
