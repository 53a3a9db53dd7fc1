package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// rootEnv makes the program of these tests change its root directory first.
const rootEnv = "BE_FANFARE_IN"

func init() {
	enterRoot = func() error {
		dir := os.Getenv(rootEnv)
		if dir == "" {
			return nil
		}
		os.Unsetenv(rootEnv)
		if err := syscall.Chroot(dir); err != nil {
			return err
		}
		return os.Chdir("/")
	}
	inNamespace = func(cmd *exec.Cmd) {
		if os.Getuid() == 0 {
			return
		}
		// Without root's rights, those in a user namespace of its own.
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
	}
}

// TestContainerMemory starts the program where /proc and /sys/fs/cgroup say what they say
// in containers. The limit is nine tenths of theirs.
func TestContainerMemory(t *testing.T) {
	const (
		v2, v1  = "sys/fs/cgroup/", "sys/fs/cgroup/memory/"
		groups  = "proc/self/cgroup"
		mounts  = "proc/self/mountinfo"
		mountV2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime - cgroup2 cgroup2 rw,nsdelegate\n"
		mountV1 = "36 25 0:31 / /sys/fs/cgroup/memory rw,nosuid,nodev,noexec,relatime - cgroup cgroup rw,memory\n"
	)
	for _, test := range []struct {
		name  string
		files map[string]string
		want  int64 // of the container; 0: no limit
	}{
		{"no cgroups", nil, 0},
		{"version 2, container", map[string]string{mounts: mountV2,
			groups: "0::/\n", v2 + "memory.max": "536870912\n"}, 512 << 20},
		{"version 2, no limit", map[string]string{mounts: mountV2,
			groups: "0::/\n", v2 + "memory.max": "max\n"}, 0},
		{"version 2, service", map[string]string{mounts: mountV2,
			groups: "0::/system.slice/fanfare.service\n", v2 + "system.slice/fanfare.service/memory.max": "1073741824\n"}, 1 << 30},
		{"version 2, the parent's is lower", map[string]string{mounts: mountV2,
			groups: "0::/a/b\n", v2 + "a/memory.max": "100000000\n", v2 + "a/b/memory.max": "200000000\n"}, 100000000},
		{"version 2, the parent's is higher", map[string]string{mounts: mountV2,
			groups: "0::/a/b\n", v2 + "a/memory.max": "200000000\n", v2 + "a/b/memory.max": "100000000\n"}, 100000000},
		{"version 2, path of the host", map[string]string{
			mounts: "30 23 0:26 /../../kubepods/pod1 /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n",
			groups: "0::/../../kubepods/pod1\n", v2 + "memory.max": "100000000\n"}, 100000000},
		{"version 1", map[string]string{mounts: mountV1,
			groups: "12:cpu,cpuacct:/x\n9:memory:/docker/1\n1:name=systemd:/x\n", v1 + "docker/1/memory.limit_in_bytes": "100000000\n"}, 100000000},
		{"version 1, container", map[string]string{
			mounts: "36 25 0:31 /docker/1 /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory\n",
			groups: "9:memory:/docker/1\n", v1 + "memory.limit_in_bytes": "100000000\n"}, 100000000},
		{"version 1, no limit", map[string]string{mounts: mountV1,
			groups: "9:memory:/\n", v1 + "memory.limit_in_bytes": "9223372036854771712\n"}, 0},
		{"hybrid", map[string]string{mounts: mountV1 + "30 23 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
			groups: "9:memory:/\n0::/\n", v1 + "memory.limit_in_bytes": "100000000\n"}, 100000000},
		{"nonsense", map[string]string{mounts: mountV2,
			groups: "\nx\n0:\n0::/\n", v2 + "memory.max": "much\n"}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			for name, text := range test.files {
				path := filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			p := startServer(t, []string{rootEnv + "=" + root})
			limits, _ := p.serving["runtime"].(map[string]any)
			want := "<nil>"
			if test.want > 0 {
				want = fmt.Sprint(float64(test.want / 10 * 9))
			}
			if got := fmt.Sprint(limits["gomemlimit"]); got != want {
				t.Errorf("the limit is %s, want %s", got, want)
			}
		})
	}
}
