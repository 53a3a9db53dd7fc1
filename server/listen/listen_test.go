package listen

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestOpenUnix(t *testing.T) {
	uid, gid := strconv.Itoa(os.Getuid()), strconv.Itoa(os.Getgid())
	for _, test := range []struct {
		name, settings string
		mode           fs.FileMode // 0: any
		want           string      // a part of the error
	}{
		{"no settings", "", 0, ""},
		{"mode", "?mode=0660", 0o660, ""},
		{"mode without a zero", "?mode=600", 0o600, ""},
		{"owner", "?mode=0606&owner=" + uid, 0o606, ""},
		{"owner and group", "?owner=" + uid + ":" + gid + "&mode=0666", 0o666, ""},
		{"group", "?owner=:" + gid, 0, ""},
		{"decimal mode", "?mode=0680", 0, `mode "0680" of a Unix socket: want octal digits`},
		{"mode with a sticky bit", "?mode=1777", 0, `mode "1777"`},
		{"no mode", "?mode=", 0, `mode ""`},
		{"two modes", "?mode=0600&mode=0666", 0, "mode more than once"},
		{"no owner", "?owner=:", 0, "want USER, USER:GROUP or :GROUP"},
		{"unknown user", "?owner=no-such-user", 0, `there is no user "no-such-user"`},
		{"unknown group", "?owner=:no-such-group", 0, `there is no group "no-such-group"`},
		{"unknown setting", "?mod=0600", 0, `unknown setting "mod"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			invalid := Validate("unix:" + path + test.settings)
			ln, err := Open("unix:" + path + test.settings)
			if err == nil {
				defer ln.Close()
			}
			if test.want != "" {
				if err == nil || !strings.Contains(err.Error(), test.want) || invalid == nil {
					t.Errorf("%v and %v, want %q", err, invalid, test.want)
				}
				if _, err := os.Lstat(path); err == nil {
					t.Error("the socket is there")
				}
				return
			}
			if err != nil || invalid != nil {
				t.Fatal(err, invalid)
			}
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if test.mode != 0 && info.Mode().Perm() != test.mode {
				t.Errorf("mode %v, want %v", info.Mode().Perm(), test.mode)
			}
			if c, err := net.Dial("unix", path); err != nil {
				t.Error(err)
			} else {
				c.Close()
			}
		})
	}
}

// The owner of a socket is set, which takes the rights of root.
func TestOpenUnixOwner(t *testing.T) {
	access := socketAccess{-1, 12345, 23456}
	path := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := access.apply(path)
	if os.Getuid() != 0 {
		if err == nil {
			t.Error("any user may change owners")
		}
		return
	}
	info, statErr := os.Stat(path)
	if err != nil || statErr != nil {
		t.Fatal(err, statErr)
	}
	if st := info.Sys().(*syscall.Stat_t); st.Uid != 12345 || st.Gid != 23456 {
		t.Errorf("owner %d:%d", st.Uid, st.Gid)
	}
}

func TestValidate(t *testing.T) {
	for addr, valid := range map[string]bool{
		"127.0.0.1:8080": true, ":0": true, "[::1]:80": true, "host:http": true, "unix:/a": true, "unix:a?mode=0600": true,
		"8080": false, "127.0.0.1": false, "127.0.0.1:99999": false, "::1:80": false, "unix:": false, "unix:?mode=0600": false, "": false,
	} {
		if err := Validate(addr); (err == nil) != valid {
			t.Errorf("%q: %v", addr, err)
		}
	}
}
