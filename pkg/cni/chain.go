package cni

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Entry is the plugin's place in a chain, as paths of the host.
type Entry struct{ Kubeconfig, RecordDir string }

// network finds the configuration that a container runtime uses: the first by name. The error says that there is none yet.
func network(dir string) (string, error) {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); !e.IsDir() && (ext == ".conflist" || ext == ".conf" || ext == ".json") {
			return filepath.Join(dir, e.Name()), nil
		}
	}
	return "", fmt.Errorf("%s has no network configuration yet: no network add-on has been installed on this node", dir)
}

// join returns a network configuration with the plugin behind all others, and whether it had to be changed. A single plugin becomes a
// chain of two. What the configuration says otherwise stays.
func join(content []byte, e Entry) (out []byte, changed bool, err error) {
	list, err := decode(content)
	if err != nil {
		return nil, false, err
	}
	plugins, isList := list["plugins"].([]any)
	if !isList {
		if list["type"] == nil {
			return nil, false, errors.New("neither a plugin nor a list of plugins")
		}
		first := list
		list = map[string]any{"cniVersion": first["cniVersion"], "name": first["name"]}
		if first["cniVersion"] == nil {
			delete(list, "cniVersion")
		}
		delete(first, "cniVersion")
		delete(first, "name")
		plugins = []any{first}
	}
	if len(plugins) == 0 {
		return nil, false, errors.New("a list without plugins")
	}
	ours := map[string]any{"type": Type, "kubeconfig": e.Kubeconfig, "recordDir": e.RecordDir}
	if last, ok := plugins[len(plugins)-1].(map[string]any); ok && isList && same(last, ours) {
		return content, false, nil
	}
	list["plugins"] = append(slices.DeleteFunc(plugins, isOurs), ours)
	out, err = encode(list)
	return out, true, err
}

// leave returns a network configuration without the plugin, and whether it had to be changed.
func leave(content []byte) (out []byte, changed bool, err error) {
	list, err := decode(content)
	if err != nil {
		return nil, false, err
	}
	plugins, _ := list["plugins"].([]any)
	if !slices.ContainsFunc(plugins, isOurs) {
		return content, false, nil
	}
	list["plugins"] = slices.DeleteFunc(plugins, isOurs)
	out, err = encode(list)
	return out, true, err
}

func isOurs(plugin any) bool {
	p, ok := plugin.(map[string]any)
	return ok && p["type"] == Type
}

func same(x, y map[string]any) bool {
	if len(x) != len(y) {
		return false
	}
	for k, v := range x {
		if y[k] != v {
			return false
		}
	}
	return true
}

// decode keeps numbers as they are written.
func decode(content []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(content))
	d.UseNumber()
	var out map[string]any
	if err := d.Decode(&out); err != nil {
		return nil, err
	}
	if out == nil {
		return nil, errors.New("not an object")
	}
	return out, nil
}

func encode(v any) ([]byte, error) {
	out, err := json.MarshalIndent(v, "", "  ")
	return append(out, '\n'), err
}

// listPath is where a chain is kept: a single plugin's file becomes a list's.
func listPath(path string) string {
	return strings.TrimSuffix(path, filepath.Ext(path)) + ".conflist"
}

// write replaces a file as a whole: whoever reads it sees the old content or the new one.
func write(path string, content []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+Type+"-*")
	if err != nil {
		return err
	}
	temporary := f.Name()
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		_ = os.Remove(temporary) // what failed is told already
	}
	return err
}
