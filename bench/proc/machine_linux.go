package proc

import (
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A Machine describes the machine of a measurement.
type Machine struct {
	Kernel     string            `json:"kernel"`
	CPU        string            `json:"cpu"`
	Cores      int               `json:"cores"`
	Memory     int64             `json:"memory"` // bytes
	Hypervisor bool              `json:"hypervisor"`
	Go         string            `json:"go"`
	Files      uint64            `json:"files"` // descriptor limit of a process
	Load       string            `json:"load"`  // load averages at the start
	Sysctl     map[string]string `json:"sysctl"`
}

// ThisMachine describes this machine.
func ThisMachine() Machine {
	m := Machine{Cores: runtime.NumCPU(), Go: runtime.Version(), Sysctl: map[string]string{}}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
	}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			name, value, _ := strings.Cut(line, ":")
			switch strings.TrimSpace(name) {
			case "model name":
				m.CPU = strings.TrimSpace(value)
			case "flags":
				m.Hypervisor = strings.Contains(value, " hypervisor")
			}
		}
	}
	if fields, err := keyed("/proc/meminfo"); err == nil {
		m.Memory = fields["MemTotal"]
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		m.Files = limit.Max
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load = strings.Join(strings.Fields(string(b))[:3], " ")
	}
	for _, name := range []string{
		"net.core.somaxconn", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_mem", "net.ipv4.tcp_rmem",
		"net.ipv4.tcp_wmem", "net.ipv4.tcp_max_syn_backlog", "fs.file-max", "fs.nr_open",
	} {
		if b, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/")); err == nil {
			m.Sysctl[name] = strings.Join(strings.Fields(string(b)), " ")
		}
	}
	return m
}

// Busy returns the processor time, in seconds, in which the cores were not idle, including time stolen by the
// hypervisor. It is precise to 10 ms.
func Busy() (sum float64) {
	for i, seconds := range stat() {
		if i != statIdle && i != statWait {
			sum += seconds
		}
	}
	return sum
}

// Stolen returns the processor time, in seconds, that the hypervisor took from all cores while they had work. The kernel
// charges it to the process that would have run.
func Stolen() float64 { return stat()[statSteal] }

// Fields of the first line of /proc/stat: user nice system idle iowait irq softirq steal.
const (
	statIdle  = 3
	statWait  = 4
	statSteal = 7
)

// stat returns that line, in seconds.
func stat() (seconds [statSteal + 1]float64) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return seconds
	}
	line, _, _ := strings.Cut(string(b), "\n")
	const ticks = 100
	for i, field := range strings.Fields(line) {
		if i < 1 || i > len(seconds) {
			continue // "cpu", and the times of guests, which other fields include
		}
		if n, err := strconv.ParseFloat(field, 64); err == nil {
			seconds[i-1] = n / ticks
		}
	}
	return seconds
}
