package upgrade

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestControlSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c")
	s, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v: want 0600", info.Mode(), err)
	}
	go func() {
		r := <-s.Wait()
		r.Answer(Answer{PID: 7, Sessions: 3})
		r = <-s.Wait()
		r.Answer(Answer{Error: "no"})
	}()
	if a, err := Ask(path, time.Minute); err != nil || a.PID != 7 || a.Sessions != 3 || a.Error != "" {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := Ask(path, time.Minute); err != nil || a.Error != "no" {
		t.Errorf("%+v, %v", a, err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "stop\n")
	if text, _ := io.ReadAll(c); !strings.Contains(string(text), `unknown request`) {
		t.Errorf("an unknown request was answered %q", text)
	}
	next, err := Listen(path) // that of a successor
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	s.Close()
	if _, err := os.Stat(path); err != nil {
		t.Error("the socket of the successor was removed")
	}
	if _, err := Ask(filepath.Join(t.TempDir(), "none"), time.Second); err == nil {
		t.Error("a socket that is not there has answered")
	}
}

func TestEnviron(t *testing.T) {
	got := environ([]string{"A=1", "LISTEN_FDS=2", "LISTEN_PID=3", "WATCHDOG_PID=4", "WATCHDOG_USEC=5", variable + "=6", "NOTIFY_SOCKET=/n"})
	if want := []string{"A=1", "WATCHDOG_USEC=5", "NOTIFY_SOCKET=/n"}; !slices.Equal(got, want) {
		t.Errorf("got %q: want %q", got, want)
	}
}

func TestConversation(t *testing.T) {
	a, file, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	c, err := net.FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := &Peer{conn: a}, &Peer{conn: c.(*net.UnixConn)}
	defer ours.Close()
	defer theirs.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := ours.Greet("v1", []Listener{{Name: "public", Flag: "a", File: f}, {Name: "api", Activated: true, File: f}}); err != nil {
		t.Fatal(err)
	}
	ours.Send(Message{Step: Store, Age: 5})
	m, err := theirs.Receive(Hello, time.Minute)
	if err != nil || m.Build != "v1" || len(m.Listeners) != 2 || !m.Listeners[1].Activated || m.Listeners[0].Flag != "a" {
		t.Fatalf("%+v, %v", m, err)
	}
	for _, l := range m.Listeners {
		got, err := net.FileListener(l.File)
		if err != nil || got.Addr().String() != ln.Addr().String() {
			t.Fatalf("listener %v, %v", got, err)
		}
		got.Close()
		l.File.Close()
	}
	if m, err := theirs.Receive(Store, time.Minute); err != nil || m.Age != 5 {
		t.Fatalf("%+v, %v", m, err)
	}
	theirs.Send(Message{Step: Failed, Reason: "a port is in use"})
	if _, err := ours.Receive(Ready, time.Minute); err == nil || !strings.Contains(err.Error(), "a port is in use") {
		t.Errorf("error %v: want the reason", err)
	}
	theirs.Send(Message{Step: Hello, Version: version + 1})
	if _, err := ours.Receive(Hello, time.Minute); err == nil || !strings.Contains(err.Error(), "version 2") {
		t.Errorf("error %v: want one about the version", err)
	}
	theirs.Send(Message{Step: Ready})
	if _, err := ours.Receive(Assembled, time.Minute); err == nil || !strings.Contains(err.Error(), `"ready" instead of "assembled"`) {
		t.Errorf("error %v: want one about the step", err)
	}
	if _, err := ours.Receive(Assembled, time.Millisecond); err == nil || !strings.Contains(err.Error(), "no answer within 1ms") {
		t.Errorf("error %v: want one about the time", err)
	}
}
