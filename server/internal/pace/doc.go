// Package pace spreads the deliveries of a message evenly over a time. It knows neither
// sessions nor messages: a [Job] calls its Spec.Next, which delivers to the next receivers
// and keeps a cursor, so the memory of a job does not depend on the number of receivers.
//
// # Contract
//
// [Table.Start] starts a job on a goroutine of its own, which ends with the job. Every
// [Slice] it delivers to as many receivers as the time that has passed is owed, in portions
// of [Portion], and to everything that is left when the time is over. If the receivers end
// early, because some have left, the job ends early. A process that cannot keep up falls
// behind and finishes late; it does not catch up in one burst until the time is over.
//
// After Cancel, Stop, and the Start of a job with the same key have returned, the job does
// not deliver any more. Of two jobs with the same key the one with the greater ID wins,
// whatever the order in which they are started, so that all nodes of a cluster agree.
//
// Time enters as Config.Now, and as arguments.
//
// # Locks
//
// Table.mu → Job.mu → the locks of Spec.Next.
package pace
