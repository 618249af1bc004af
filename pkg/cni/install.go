package cni

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Installer keeps the plugin on a node. Paths named Host… are those that the container runtime sees; the others are the same folders as
// the installer sees them.
type Installer struct {
	// Program is this binary; it is copied to BinDir as Type.
	Program, BinDir string
	// NetDir has the network configurations, and gets the plugin's credential.
	NetDir, HostNetDir string
	// RecordDir is where the plugin notes pods that were redirected.
	RecordDir, HostRecordDir string
	// ServiceAccount is the folder with this pod's token and authority; APIServer its URL.
	ServiceAccount, APIServer string
	Log                       logr.Logger

	// copied are both programs as they were when they were last found equal: to compare their contents at every pass would cost more
	// than everything else.
	copied [2]stamp
}

// stamp tells versions of a file apart.
type stamp struct {
	size int64
	time time.Time
}

func stampOf(path string) (stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}, err
	}
	return stamp{info.Size(), info.ModTime()}, nil
}

// kubeconfigName of the plugin's credential, beside the network configuration. Runtimes read no files of such a name.
const kubeconfigName = Type + ".kubeconfig"

// APIServerURL is where pods of the cluster find the API server, by the variables that kubelet sets.
func APIServerURL(getenv func(string) string) (string, error) {
	host, port := getenv("KUBERNETES_SERVICE_HOST"), getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return "", errors.New("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this runs in a pod")
	}
	return "https://" + net.JoinHostPort(host, port), nil
}

// Run puts the plugin in place and keeps it there until ctx ends: tokens rotate, and network add-ons rewrite their configuration.
// It stays in the chain when ctx ends, because pods that start without it would be outside of the mesh; see Remove.
func (i *Installer) Run(ctx context.Context, every time.Duration) {
	said := ""
	for {
		words := "in place"
		changed, err := i.Pass()
		if err != nil {
			words = err.Error()
		}
		if words != said || changed != "" {
			i.Log.Info("Plugin", "state", words, "changed", changed)
			said = words
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
	}
}

// Pass does what is missing, and says what that was. The place in the chain comes last: whoever calls the plugin finds it complete.
func (i *Installer) Pass() (changed string, err error) {
	for _, step := range []struct {
		what string
		do   func() (bool, error)
	}{{"program", i.copyProgram}, {"credential", i.writeCredential}, {"chain", i.joinChain}} {
		did, err := step.do()
		if err != nil {
			return changed, fmt.Errorf("%s: %w", step.what, err)
		}
		if did {
			changed += " " + step.what
		}
	}
	return changed, nil
}

// InPlace returns an error that says what is missing.
func (i *Installer) InPlace() error {
	path, err := network(i.NetDir)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if _, changed, err := join(content, i.entry()); err != nil || changed {
		return cmp.Or(err, fmt.Errorf("%s does not name %s as its last plugin", path, Type))
	}
	for _, file := range []string{filepath.Join(i.BinDir, Type), filepath.Join(i.NetDir, kubeconfigName)} {
		if _, err := os.Stat(file); err != nil {
			return err
		}
	}
	return nil
}

// Remove takes the plugin out of the chain, and then away.
func (i *Installer) Remove() error {
	path, err := network(i.NetDir)
	if err == nil {
		var content []byte
		if content, err = os.ReadFile(path); err == nil {
			var changed bool
			if content, changed, err = leave(content); err == nil && changed {
				err = write(path, content, 0o600)
			}
		}
	}
	if err != nil {
		return err
	}
	for _, file := range []string{filepath.Join(i.BinDir, Type), filepath.Join(i.NetDir, kubeconfigName)} {
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (i *Installer) entry() Entry {
	return Entry{Kubeconfig: filepath.Join(i.HostNetDir, kubeconfigName), RecordDir: i.HostRecordDir}
}

func (i *Installer) copyProgram() (bool, error) {
	from, err := stampOf(i.Program)
	if err != nil {
		return false, err
	}
	to := filepath.Join(i.BinDir, Type)
	if has, err := stampOf(to); err == nil && i.copied == [2]stamp{from, has} {
		return false, nil
	}
	want, err := digest(i.Program)
	if err != nil {
		return false, err
	}
	changed := false
	if has, err := digest(to); err != nil || has != want {
		content, err := os.ReadFile(i.Program)
		if err != nil {
			return false, err
		}
		const executable = 0o755
		if err := write(to, content, executable); err != nil {
			return false, err
		}
		changed = true
	}
	has, err := stampOf(to)
	i.copied = [2]stamp{from, has}
	return changed, err
}

func digest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// writeCredential gives the plugin this pod's token. Only root of the host can read it.
func (i *Installer) writeCredential() (bool, error) {
	token, err := os.ReadFile(filepath.Join(i.ServiceAccount, "token"))
	if err != nil {
		return false, err
	}
	authority, err := os.ReadFile(filepath.Join(i.ServiceAccount, "ca.crt"))
	if err != nil {
		return false, err
	}
	c := clientcmdapi.NewConfig()
	c.Clusters[Type] = &clientcmdapi.Cluster{Server: i.APIServer, CertificateAuthorityData: authority}
	c.AuthInfos[Type] = &clientcmdapi.AuthInfo{Token: string(token)}
	c.Contexts[Type] = &clientcmdapi.Context{Cluster: Type, AuthInfo: Type}
	c.CurrentContext = Type
	content, err := clientcmd.Write(*c)
	if err != nil {
		return false, err
	}
	path := filepath.Join(i.NetDir, kubeconfigName)
	if has, err := os.ReadFile(path); err == nil && bytes.Equal(has, content) {
		return false, nil
	}
	return true, write(path, content, 0o600)
}

func (i *Installer) joinChain() (bool, error) {
	path, err := network(i.NetDir)
	if err != nil {
		return false, err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	out, changed, err := join(content, i.entry())
	if err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	if !changed {
		return false, nil
	}
	to := listPath(path)
	if err := write(to, out, 0o600); err != nil {
		return false, err
	}
	if to != path {
		return true, os.Remove(path) // it would come first by its name
	}
	return true, nil
}
