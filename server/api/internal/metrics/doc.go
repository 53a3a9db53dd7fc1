// Package metrics exports the counters of a program to Prometheus.
//
// A Registry reads counters when it is scraped, so that they are counted once, where they
// belong. It exports three kinds:
//
//   - AddStruct: the fields of a struct. The tag metric of a field is its name as a metric,
//     without the prefix "fanfare_", and after a comma the name of the label whose values are
//     the keys of a map; in the tag of a struct it is a prefix for the names in it. The tag
//     help is the help text. Strings with the tag info are labels of fanfare_info.
//   - AddNamed: metrics that a part of the program names itself, which may differ from scrape
//     to scrape.
//   - Add: collectors of package prometheus.
//
// A name that ends with "_total" is a counter's, any other one is a gauge's; a
// stats.Histogram is a histogram. The metrics of the Go runtime and of the process are always
// there, except for process_network_*, which count the traffic of every process in the
// network namespace.
//
// Each Registry is on its own, so several servers in one program, and the program's own
// metrics, do not collide. If collecting panics, the scrape is answered 500.
package metrics
