package main

import (
	"testing"
	"testing/fstest"
)

func TestContainerMemory(t *testing.T) {
	const v2, v1 = "sys/fs/cgroup/", "sys/fs/cgroup/memory/"
	for _, test := range []struct {
		name  string
		files map[string]string
		want  int64 // 0: no limit
	}{
		{"no cgroups", nil, 0},
		{"version 2, container", map[string]string{
			"proc/self/cgroup": "0::/\n", v2 + "memory.max": "536870912\n"}, 512 << 20},
		{"version 2, no limit", map[string]string{
			"proc/self/cgroup": "0::/\n", v2 + "memory.max": "max\n"}, 0},
		{"version 2, service", map[string]string{
			"proc/self/cgroup": "0::/system.slice/fanfare.service\n", v2 + "system.slice/fanfare.service/memory.max": "1073741824\n"}, 1 << 30},
		{"version 2, the parent's is lower", map[string]string{
			"proc/self/cgroup": "0::/a/b\n", v2 + "a/memory.max": "1000000\n", v2 + "a/b/memory.max": "2000000\n"}, 1000000},
		{"version 2, the parent's is higher", map[string]string{
			"proc/self/cgroup": "0::/a/b\n", v2 + "a/memory.max": "2000000\n", v2 + "a/b/memory.max": "1000000\n"}, 1000000},
		{"version 2, path of the host", map[string]string{
			"proc/self/cgroup": "0::/../../kubepods/pod1\n", v2 + "memory.max": "1000000\n"}, 1000000},
		{"version 1", map[string]string{
			"proc/self/cgroup": "12:cpu,cpuacct:/x\n9:memory:/docker/1\n1:name=systemd:/x\n", v1 + "docker/1/memory.limit_in_bytes": "1000000\n"}, 1000000},
		{"version 1, container", map[string]string{
			"proc/self/cgroup": "9:memory:/docker/1\n", v1 + "memory.limit_in_bytes": "1000000\n"}, 1000000},
		{"version 1, no limit", map[string]string{
			"proc/self/cgroup": "9:memory:/\n", v1 + "memory.limit_in_bytes": "9223372036854771712\n"}, 0},
		{"hybrid", map[string]string{
			"proc/self/cgroup": "9:memory:/\n0::/\n", v1 + "memory.limit_in_bytes": "1000000\n"}, 1000000},
		{"nonsense", map[string]string{
			"proc/self/cgroup": "\nx\n0:\n0::/\n", v2 + "memory.max": "much\n"}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := fstest.MapFS{}
			for name, text := range test.files {
				root[name] = &fstest.MapFile{Data: []byte(text)}
			}
			got, ok := containerMemory(root)
			if ok != (test.want > 0) || ok && got != test.want {
				t.Errorf("got %d, %v, want %d", got, ok, test.want)
			}
		})
	}
}
