package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/aftermesh/aftermesh/test/cluster"
	"github.com/aftermesh/aftermesh/test/cluster/image"
)

func load(_ context.Context, l cluster.Layout, args []string) error {
	for _, file := range args {
		if err := l.LoadArchive(file); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

func imageVerb(_ context.Context, l cluster.Layout, args []string) error {
	fset := flags("image")
	var i image.Image
	var names, files, entrypoint, command, environ list
	fset.Var(&names, "name", "image reference (repeatable)")
	fset.Var(&files, "file", "HOST:PATH[:MODE] (repeatable)")
	fset.Var(&entrypoint, "entrypoint", "one word of the entry point (repeatable)")
	fset.Var(&command, "cmd", "one word of the command (repeatable)")
	fset.Var(&environ, "env", "NAME=VALUE (repeatable)")
	fset.StringVar(&i.User, "user", "65532", "uid[:gid]")
	output := fset.String("o", "", "write the archive to this file instead of importing it")
	rest, err := parse(fset, args)
	if err != nil {
		return err
	}
	switch {
	case len(rest) == 2 && rest[0] == "envoy":
		if err := l.FetchEnvoy(cluster.NewProgress(os.Stderr), rest[1]); err != nil {
			return err
		}
		i, err = image.Envoy(l.Envoy(rest[1]), append(names, cluster.EnvoyImage(rest[1]))...)
	case len(rest) == 2 && rest[0] == "static":
		i = image.Static(rest[1], "/"+filepath.Base(rest[1]), names...)
	case len(rest) == 0:
		i.Names, i.Entrypoint, i.Command, i.Env = names, entrypoint, command, environ
		i.Files, err = parseFiles(files)
	default:
		err = fmt.Errorf("image %s: want no argument, envoy VERSION or static BINARY", strings.Join(rest, " "))
	}
	if err != nil {
		return err
	}
	if *output != "" {
		return writeArchive(i, *output)
	}
	imported, err := l.Load(i)
	if err == nil {
		fmt.Printf("%s imported=%t\n", strings.Join(i.Names, " "), imported)
	}
	return err
}

func parseFiles(specs []string) ([]image.File, error) {
	files := []image.File{{Path: "/tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777}}
	for _, spec := range specs {
		parts := strings.Split(spec, ":")
		if len(parts) < 2 || len(parts) > 3 {
			return nil, fmt.Errorf("--file %s: want HOST:PATH[:MODE]", spec)
		}
		f := image.File{Host: parts[0], Path: parts[1]}
		if len(parts) == 3 {
			mode, err := strconv.ParseUint(parts[2], 8, 12)
			if err != nil {
				return nil, fmt.Errorf("--file %s: mode: %w", spec, err)
			}
			f.Mode = fs.FileMode(mode)
		}
		files = append(files, f)
	}
	return files, nil
}

func writeArchive(i image.Image, file string) error {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(i.Write(out), out.Close())
}
