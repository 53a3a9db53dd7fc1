package settings

import (
	"errors"
	"log/slog"
	"strings"
	"time"

	"fanfare/server"
	"fanfare/server/messagehook"
)

// messageHookFlags are about the backend that answers what clients send.
type messageHookFlags struct {
	MessageHook             string        `name:"message-hook" help:"URL of the backend that gets what clients of --path send, and answers it: https, or http on loopback." placeholder:"URL" live:"yes"`
	MessageHookKeyFile      string        `name:"message-hook-key-file" help:"Secrets that sign the requests (Standard Webhooks), one per line. Required with --message-hook." placeholder:"FILE" live:"yes"`
	MessageHookTimeout      time.Duration `name:"message-hook-timeout" help:"Time for a request." default:"5s" live:"yes"`
	MessageHookCA           string        `name:"message-hook-ca" help:"Authorities that the backend is verified with, in PEM, instead of the system's." placeholder:"FILE" live:"yes"`
	MessageHookInsecureHTTP bool          `name:"message-hook-insecure-http" help:"Allow http for a backend that is not on loopback: an attacker on the network can then read messages and forge answers." live:"yes"`
}

// messageHook sets the hook that answers clients of an endpoint.
func (cmd *Serve) messageHook(p *Plan, push *server.Endpoint, log *slog.Logger) error {
	secrets, err := hookSecrets("message-hook", cmd.MessageHookKeyFile)
	if err != nil {
		return err
	}
	cfg := messagehook.Config{
		URL:          cmd.MessageHook,
		CA:           cmd.MessageHookCA,
		InsecureHTTP: cmd.MessageHookInsecureHTTP,
		Secrets:      secrets,
		Timeout:      cmd.MessageHookTimeout,
		Connections:  cmd.MessageConcurrency,
		Logger:       log,
	}
	hook, err := messagehook.New(cfg)
	if err != nil {
		return errors.New(strings.ReplaceAll(InFlags("messagehook", err).Error(), "InsecureHTTP", "--message-hook-insecure-http"))
	}
	p.MessageHook, p.MessageHookConfig, push.Respond = hook, cfg, hook.Respond
	return nil
}
