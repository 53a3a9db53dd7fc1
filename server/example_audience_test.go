package server_test

import (
	"context"
	"time"

	"fanfare/server"
	"fanfare/server/where"
)

func ExampleServer_Deliver() {
	srv, err := server.New(server.Config{})
	if err != nil {
		panic(err)
	}
	defer srv.Shutdown(context.Background())
	deliver := func(ctx context.Context, message *server.Message) error {
		expr, err := where.Parse(`platform == "ios" && version < "5.2"`)
		if err != nil {
			return err // it names the column
		}
		delivery, err := srv.Deliver(ctx, server.Audience{Everyone: true, ExcludeUsers: []string{"alice"}, Where: expr}, message)
		_ = delivery.Receivers
		return err
	}
	deliver(context.Background(), server.NewMessage(server.Text, []byte("please update")))
}

func ExampleServer_StartPaced() {
	srv, err := server.New(server.Config{})
	if err != nil {
		panic(err)
	}
	defer srv.Shutdown(context.Background())
	message := server.NewMessage(server.Text, []byte("reload"))
	paced, err := srv.StartPaced(context.Background(), server.Audience{Everyone: true}, message, server.Pace{Over: 10 * time.Second, Key: "flags"})
	if err != nil {
		panic(err)
	}
	srv.CancelPaced(context.Background(), paced.ID)
}
