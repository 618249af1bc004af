package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// stamp remembers what a file was built from: hash of inputs, in a file beside it.
type stamp struct {
	product string // path of the built file
	want    string // hash of its inputs now
}

// newStamp hashes the given words (versions, flags) and files. A folder counts with its regular files, one level deep.
func newStamp(product string, words []string, files ...string) (stamp, error) {
	h := sha256.New()
	for _, w := range words {
		fmt.Fprintf(h, "word %d %s\n", len(w), w)
	}
	for _, f := range files {
		if err := hashPath(h, f); err != nil {
			return stamp{}, err
		}
	}
	return stamp{product: product, want: hex.EncodeToString(h.Sum(nil))}, nil
}

func hashPath(h io.Writer, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "file %s %d\n", filepath.Base(path), len(data))
		_, err = h.Write(data)
		return err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type().IsRegular() {
			if err := hashPath(h, filepath.Join(path, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s stamp) file() string { return s.product + ".stamp" }

// fresh says whether the product exists and was built from these very inputs.
func (s stamp) fresh() bool {
	if _, err := os.Stat(s.product); err != nil {
		return false
	}
	have, err := os.ReadFile(s.file())
	return err == nil && strings.TrimSpace(string(have)) == s.want
}

// build runs produce unless the product is fresh. It hands it a temporary path and
// moves the result into place, so that an interrupted build leaves no half product.
func (s stamp) build(produce func(path string) error) error {
	if s.fresh() {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(s.product), 0o755); err != nil {
		return err
	}
	temp := s.product + ".new"
	if err := produce(temp); err != nil {
		return errors.Join(err, removeIfExists(temp))
	}
	if err := os.Rename(temp, s.product); err != nil {
		return err
	}
	return os.WriteFile(s.file(), []byte(s.want+"\n"), 0o644)
}

func removeIfExists(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
