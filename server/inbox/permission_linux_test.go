package inbox

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// TestPermissionWithdrawn: a store whose process may not use the directory for a while says why,
// and recovers by itself. root may always, so that it runs this test as another user.
func TestPermissionWithdrawn(t *testing.T) {
	if os.Geteuid() == 0 {
		const nobody = 65534
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestPermissionWithdrawn$", "-test.v")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestPermissionWithdrawn") {
			t.Fatalf("%v: %s", err, out)
		}
		return
	}
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	put(t, s, user("u"), "1")
	if err := os.Chmod(dir, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(dir, 0o700) })
	s.local.log.Errorf("Filestore [X] Critical write error: open %s: permission denied", dir) // as JetStream does when it writes
	eventually(t, "the reason", func() bool {
		err := s.Ready()
		return err != nil && strings.Contains(err.Error(), "permission denied")
	})
	eventually(t, "a failed start", func() bool { return strings.Contains(s.local.log.worst(), "Can't start JetStream") })
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	eventually(t, "recovery", func() bool { return s.Ready() == nil })
	put(t, s, user("u"), "2")
	if got, gap := read(t, s, user("u"), 0); len(got) != 2 || gap {
		t.Errorf("%q, gap %v", got, gap)
	}
}
