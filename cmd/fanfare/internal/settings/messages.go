package settings

import (
	"fmt"
	"log/slog"
	"time"

	"fanfare/server"
	"fanfare/server/identity"
	"fanfare/server/messagenats"
)

// messageFlags say where what clients send goes.
type messageFlags struct {
	messageHookFlags `embed:""`

	MessageTopic          string        `name:"message-topic" help:"Topic that what clients of --path send is published to, for clients that may publish to it." placeholder:"TOPIC"`
	MessageSubject        string        `name:"message-subject" help:"NATS subject, of the servers in --nats, that gets what clients of --path send." placeholder:"SUBJECT"`
	MessageSubjectAnswer  string        `name:"message-subject-answer" help:"What is awaited for a message: the reply of a program, which the client gets; that a stream has stored it; or that NATS has published it." enum:"reply,stored,published" default:"reply"`
	MessageSubjectTimeout time.Duration `name:"message-subject-timeout" help:"Time for that." default:"5s"`

	MessageConcurrency int `name:"message-concurrency" help:"Maximum number of messages of clients that are being answered or published by --message-hook, --message-subject or --message-topic." default:"64"`
	MessageQueue       int `name:"message-queue" help:"Maximum number of messages that wait for that; more are rejected, and so are more than 64 of one session." default:"4096"`
}

// messages has what clients of an endpoint send go where the flags say. It makes no request.
func (cmd *Serve) messages(p *Plan, push *server.Endpoint, log *slog.Logger) error {
	var given []string
	for _, f := range []struct{ name, value string }{
		{"--message-hook", cmd.MessageHook}, {"--message-subject", cmd.MessageSubject}, {"--message-topic", cmd.MessageTopic},
	} {
		if f.value != "" {
			given = append(given, f.name)
		}
	}
	if len(given) > 1 {
		return fmt.Errorf("%s and %s contradict each other: give one", given[0], given[1])
	}
	switch {
	case cmd.MessageHook != "":
		return cmd.messageHook(p, push, log)
	case cmd.MessageSubject != "":
		return cmd.messageSubject(p, log)
	case cmd.MessageTopic != "":
		return cmd.messageTopic(push)
	}
	return nil
}

// messageSubject sets the configuration of the subject.
func (cmd *Serve) messageSubject(p *Plan, log *slog.Logger) error {
	answer, err := messagenats.ParseAnswer(cmd.MessageSubjectAnswer)
	if err != nil {
		return fmt.Errorf("--message-subject-answer is %q: %w", cmd.MessageSubjectAnswer, err)
	}
	cfg := &messagenats.Config{URL: cmd.NATS, Credentials: cmd.NATSCreds, CA: cmd.NATSCA, Cert: cmd.NATSCert, Key: cmd.NATSKey,
		Name: "fanfare messages " + cmd.NodeName, Subject: cmd.MessageSubject, Answer: answer, Timeout: cmd.MessageSubjectTimeout, Logger: log}
	if err := cfg.Validate(); err != nil {
		return InFlags("messagenats", err)
	}
	p.MessageSubject = cfg
	return nil
}

// messageTopic has messages published to a topic.
func (cmd *Serve) messageTopic(push *server.Endpoint) error {
	publish, err := server.PublishTo(cmd.MessageTopic)
	if err != nil {
		return fmt.Errorf("--message-topic is %q: %w", cmd.MessageTopic, err)
	}
	if cmd.Auth == "none" && !identity.Covers(cmd.ClientPublish, cmd.MessageTopic) {
		return fmt.Errorf("--message-topic is %s, and with --auth none no client may publish to it: give --client-publish %[1]s, too", cmd.MessageTopic)
	}
	push.Respond = publish
	return nil
}
