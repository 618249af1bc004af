// Command aftermesh is the operator, its offline tools and the init step of injected pods, in one binary.
package main

import (
	"os"

	"github.com/aftermesh/aftermesh/pkg/cli"
)

func main() {
	os.Exit(cli.Run(os.Args, os.Stdin, os.Stdout, os.Stderr))
}
