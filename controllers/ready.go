package controllers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
)

// answerProbes: a replica is alive while its process runs, and ready once it serves the first model, its webhooks listen, and the API
// server trusts their certificate. So kubectl rollout status means that objects can be applied.
func (op *operator) answerProbes(context.Context, *rest.Config) error {
	served := func(*http.Request) error {
		select {
		case <-op.served:
			return nil
		default:
			return errors.New("no configuration has been compiled yet")
		}
	}
	trusted := &trust{reader: op.client, root: func() []byte { return op.operatorCA.Authority().PEM() }}
	op.serveMetrics()
	op.serveHealth(
		map[string]healthz.Checker{"health-ping": healthz.Ping},
		map[string]healthz.Checker{"served": served, "webhook": op.manager.GetWebhookServer().StartedChecker(), "webhook-trust": trusted.check},
	)
	return nil
}

// trust finds out whether the webhook configurations carry the root under which this replica serves. A configuration that does not
// exist does not keep a replica from being ready: somebody has deleted it to open the webhooks. Once satisfied it stays so, because
// the leader publishes a new root before any replica uses it.
type trust struct {
	reader client.Reader
	root   func() []byte
	done   atomic.Bool
}

func (t *trust) check(r *http.Request) error {
	if t.done.Load() {
		return nil
	}
	var m admissionregistrationv1.MutatingWebhookConfiguration
	var v admissionregistrationv1.ValidatingWebhookConfiguration
	for name, o := range map[string]client.Object{mutatingConfiguration: &m, validatingConfiguration: &v} {
		if err := t.reader.Get(r.Context(), client.ObjectKey{Name: name}, o); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
	}
	root := t.root()
	for _, w := range m.Webhooks {
		if !bytes.Contains(w.ClientConfig.CABundle, root) {
			return untrusted(m.Name, w.Name)
		}
	}
	for _, w := range v.Webhooks {
		if !bytes.Contains(w.ClientConfig.CABundle, root) {
			return untrusted(v.Name, w.Name)
		}
	}
	t.done.Store(true)
	return nil
}

func untrusted(configuration, webhook string) error {
	return fmt.Errorf("%s: the caBundle of webhook %s does not hold the operator's root yet; the leader writes it", configuration, webhook)
}
