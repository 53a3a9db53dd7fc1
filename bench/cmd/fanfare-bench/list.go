package main

import (
	"fmt"

	"fanfare/bench/scenario"
	"fanfare/bench/servers"
)

type listCommand struct{}

func (listCommand) Run() error {
	fmt.Println("scenarios")
	for _, s := range scenario.All() {
		fmt.Printf("  %-18s %s\n", s.Name, s.About)
	}
	fmt.Println("servers")
	for _, s := range (servers.Catalog{}).All() {
		fmt.Printf("  %-18s %s\n", s.Name, s.About)
	}
	fmt.Println("fanfare with more")
	for _, s := range (servers.Catalog{}).Variants() {
		fmt.Printf("  %-18s %s\n", s.Name, s.About)
	}
	fmt.Println("push servers with an interface of their own, and fanfare as operators run it")
	for _, s := range (servers.Catalog{}).Products() {
		fmt.Printf("  %-18s %s\n", s.Name, s.About)
	}
	return nil
}
