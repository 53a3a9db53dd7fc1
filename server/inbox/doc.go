// Package inbox keeps messages until their receivers have read them, on NATS
// JetStream: embedded in the process, or an outside cluster. It knows boxes,
// messages and offsets; who is connected is the business of others.
//
// # Contract
//
// A [Box] is the inbox of a user or a durable topic. [Store.Append] returns when
// a message is stored. Its offset is a sequence of the stream that all boxes of a
// kind share, so those of one box grow, with gaps. [Store.Read] returns what is
// behind an offset, [Store.Ack] notes up to where a user has read in a box on any
// device: the user's inbox or a topic. That position never goes back, and is stored
// a moment later: what a crash costs are doubles, not messages. It is stored before
// [Store.Acked] tells it: what a device is sent from there on would come before what
// it is sent from an older one after a crash, or by another node. It is kept for twice
// as long as messages: who follows a topic in which nothing happens renews it.
//
// Appends of one Store to one box are stored in the order of the calls ([Store.Begin]
// takes a place in it without waiting). Between Stores the order is that of the
// stream.
//
// # Links
//
// Each message names the offset of the one before it in its box ([Message].Prev).
// An Append says at which message it believes the box to end, and JetStream
// refuses it if that is wrong (Nats-Expected-Last-Subject-Sequence), so links
// are right whoever else appends. They serve three purposes: whoever has seen
// everything up to Prev can be given the message at once, and anybody else knows
// that something is missing, whether it was dropped at a limit or did not arrive;
// reading follows them backwards, because JetStream finds a message by its
// sequence, and the last one of a subject, in constant time, but the next one of
// a subject only by looking at all between; and with them goes the sum of bytes
// so far, from which follows what a box holds.
//
// # Replicas
//
// With Config.Replicas any copy answers reads, also one that is behind. So the end of
// a box is asked of the one that leads, and a message that another copy does not have
// is gone only if that says so too. A store that opens streams adds copies where it
// wants more, and takes none away; limits it sets to its own, and logs what they were.
//
// # Outages
//
// An outside NATS may be away, at Open and later: everything says ErrUnavailable
// meanwhile, and goes on by itself. Nodes number their beats; one that misses some
// was cut off, and is told (OnMissed) to look for what it was not told.
//
// An embedded server whose disk is full or fails refuses with the reason, also what
// it was asked before and does not answer. It is started again when a mebibyte can
// be written, which is tried every second.
//
// # Limits
//
// Messages, age and disk are limits of the streams, the bytes of one box are
// counted by their sums. At a user's limit the oldest make room, or Append
// returns ErrFull; messages that were read make room before either. At that of
// the disk it is ErrFull, or the oldest of anybody make room. Messages that were
// read are kept like others, for the user's other devices. An expired message
// keeps its place until a limit takes it.
//
// # Routes
//
// [Routes] bring what is for now to the other nodes that share an outside NATS.
// Users and topics are hashed into 1,024 buckets each; a node subscribes to those
// of whom it holds. A message for one user is one NATS message, and as many
// deliveries as nodes hold somebody of the bucket; a broadcast is one delivery a
// node. Whoever is asked answers with one message. Beats are for counting answers;
// who gets a message is decided by NATS alone. They cost 281 bytes a second from each
// node to each other, n(n-1) deliveries: 9,900 a second with 100 nodes, 2.8 MB.
//
// Measured on one 2-core machine with one NATS: live pushes of 128 bytes to one of
// 64 users, who are spread over the nodes, through all nodes in turn, so that one in
// n meets its user where it is made; and broadcasts, 64 deliveries each. CPU time of
// all processes in µs, HTTP included, of that NATS; messages and payload bytes that
// NATS received and sent (fanfare-bench faults --cost 1,2,4,8 --pushes 5000):
//
//	      |       push to a user       |         broadcast          | idle, a second
//	nodes |  CPU  NATS messages  bytes |  CPU  NATS messages  bytes | messages  bytes
//	    1 |   37    10      1.0    141 |  235    21      1.0    135 |        1    281
//	    2 |  102    32      2.5    212 |  465    91      4.0    274 |        4  1,124
//	    4 |  119    35      3.3    248 |  406    91     10.0    551 |       16  4,496
//	    8 |  146    40      3.6    266 |  694   168     22.0  1,097 |       64 17,984
//
// So a push is 1 message in, k out, k answers in and k out, where k is the number
// of other nodes that hold the bucket: 1 + 3k, whatever the number of nodes. A
// broadcast is 1 + 3(n-1).
//
// # On paper: 100 nodes, 50 million users
//
// 500,000 connections a node, 50,000,000 / 1,024 = 48,800 users a bucket.
//
// With a load balancer that hashes users as this package does, ten buckets a node, a
// push stays 4 messages: 10,000 pushes a second are 40,000 messages, a tenth of what
// one NATS server carries, and some 130 µs × 10,000 = 1.3 cores in all. With any
// other, each node holds somebody of each bucket: 1 + 3 × 99 = 298 messages a push.
// Then 10,000 pushes a second are 3 million messages for NATS, several servers, and
// each node looks at all 10,000, some 15 µs each, 0.15 cores. So hash, or make buckets
// smaller: with 50,000,000 of them a push is exact again, and a beat is 6 MB, which
// is why there are 1,024 and the load balancer hashes.
//
// A broadcast is 298 messages, and 500,000 deliveries a node; at 9 µs each that is
// 4.5 s of one core. It is the kernel's writes that cost, not the routes.
//
// Durable pushes go through the leader of one stream, some ten thousand a second,
// and each replica keeps an index of users in memory: at about 150 bytes and
// 50 million of them 7.5 GB. Past some million users with messages the stream has to
// be divided by bucket, into 16 or so with leaders on different servers. A Box is
// its stream and its subject, so this is a change of User; it is not done.
//
// Routes promise nothing. A stored message that does not arrive by them is found by
// its link when the next one does, when the user connects again, when the connection
// to NATS is back, or when a beat of another node was missed: they are numbered.
//
// # What a crash costs
//
// A process that is killed loses nothing that Append has promised. A power cut
// costs up to Config.Sync of the embedded server's promises, 1 s by default;
// with a negative Sync nothing, at some thousand appends a second on a disk that
// flushes in a millisecond or so. An outside cluster with Replicas of 3 loses
// nothing with one machine.
//
// A directory belongs to one process at a time. Files that are damaged are told
// at Open (ErrDamaged, with what to do) if more than the end of what was being
// written is missing. A single wrong bit inside of a file may be found only when
// that message is read: then the read tells a gap.
//
// # Cost
//
// One 2-core machine, embedded, CPU time of all goroutines: a look for unread
// messages of a user who has none, 21 to 24 µs (one direct get, nothing is
// created); an Append of 128 bytes, 23 to 30 µs, and 20 more for a user who is
// not among the last 65,536; 30 µs for each message that is read from warm files. A
// message whose file is cold costs reading that file, 8 MiB. An idle store takes
// 8 MiB of memory.
//
// # Limitations
//
// An Ask waits up to half a second for a node that has been killed, until that is
// 3.5 s without a beat.
// The Appends to one box wait for each other: some ten thousand a second and box,
// and one for each round trip over a network; those to different boxes share one. With
// a NATS that is 2 ms away a batch stores 340 a second for one user, 15,000 for a
// hundred. They cannot be sent ahead: a link is an offset, which the stream gives.
// A power cut that takes messages but leaves the acknowledgements of them, which are
// flushed on their own, makes later messages of that box look as if they were read. There is no listing of boxes. A user's limit in bytes
// counts payloads, the disk's everything.
package inbox
