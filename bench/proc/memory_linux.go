package proc

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// RSS returns the resident memory of the process in bytes.
func RSS(pid int) (int64, error) {
	// smaps_rollup walks the page tables; statm's counters lag by up to 64 pages per thread.
	fields, err := keyed(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err == nil && fields["Rss"] > 0 {
		return fields["Rss"], nil
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, fmt.Errorf("proc: memory: %w", err)
	}
	words := strings.Fields(string(b))
	if len(words) < 2 {
		return 0, fmt.Errorf("proc: memory of process %d: %q", pid, b)
	}
	pages, err := strconv.ParseInt(words[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// Kernel has the kernel memory of the whole machine, sockets included, in bytes.
type Kernel struct {
	Slab int64 `json:"slab"` // all slab caches: the structures of sockets, files, epoll entries, dentries
	TCP  int64 `json:"tcp"`  // pages of socket buffers
}

// KernelMemory reads Kernel from /proc/meminfo and /proc/net/sockstat.
func KernelMemory() (k Kernel, err error) {
	fields, err := keyed("/proc/meminfo")
	if err != nil {
		return k, err
	}
	k.Slab = fields["Slab"]
	b, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		return k, fmt.Errorf("proc: memory: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		words := strings.Fields(line)
		for i := 0; i+1 < len(words); i++ {
			if words[0] == "TCP:" && words[i] == "mem" {
				pages, _ := strconv.ParseInt(words[i+1], 10, 64)
				k.TCP = pages * int64(os.Getpagesize())
			}
		}
	}
	return k, nil
}

// keyed reads "Name: 12 kB" lines into bytes.
func keyed(path string) (map[string]int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("proc: memory: %w", err)
	}
	fields := map[string]int64{}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), ":")
		if value, isKB := strings.CutSuffix(strings.TrimSpace(value), " kB"); ok && isKB {
			n, err := strconv.ParseInt(value, 10, 64)
			if err == nil {
				fields[name] = n << 10
			}
		}
	}
	return fields, lines.Err()
}

// Peak returns the largest resident memory that the process has had, in bytes, since 5 was last written to its
// clear_refs, proc(5).
func Peak(pid int) (int64, error) {
	fields, err := keyed(fmt.Sprintf("/proc/%d/status", pid))
	return fields["VmHWM"], err
}
