package controllers

import (
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/aftermesh/aftermesh/pkg/identity"
)

const (
	// operatorAuthoritySecret holds the root for webhooks and for the talk between replicas.
	operatorAuthoritySecret = "aftermesh-operator-ca"
	// xdsAuthoritySecret holds the root of the xDS port, which stands in the command line of running proxies.
	xdsAuthoritySecret = "aftermesh-xds-ca"

	operatorAuthorityLife = 365 * 24 * time.Hour
	xdsAuthorityLife      = 10 * 365 * 24 * time.Hour
	// leafLife is the life of the certificates that a replica issues for itself, in memory.
	leafLife = 24 * time.Hour

	// webhookConfiguration names both webhook configurations, see config/webhook.
	mutatingConfiguration   = "aftermesh-mutating-webhook-configuration"
	validatingConfiguration = "aftermesh-validating-webhook-configuration"
)

// loadAuthority returns the authority in the given Secret, creating it when there is none. Of two replicas that try at the same
// time one succeeds and the other reads what it made.
func loadAuthority(ctx context.Context, c client.Client, namespace, name string, life time.Duration) (*identity.Authority, error) {
	const tries = 5
	key := types.NamespacedName{Namespace: namespace, Name: name}
	for range tries {
		var s corev1.Secret
		err := c.Get(ctx, key, &s)
		if err == nil {
			a, err := identity.ParseAuthority(s.Data)
			if err != nil {
				return nil, fmt.Errorf("secret %s: %w; delete it to have a new authority made", key, err)
			}
			return a, nil
		}
		if !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("read secret %s: %w", key, err)
		}
		a, err := identity.NewAuthority(name, time.Now(), life)
		if err != nil {
			return nil, err
		}
		data, err := a.Data()
		if err != nil {
			return nil, err
		}
		err = c.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: data})
		if err == nil {
			return a, nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return nil, fmt.Errorf("create secret %s: %w", key, err)
		}
	}
	return nil, fmt.Errorf("secret %s appears and disappears", key)
}

// caWatcher keeps an issuer in step with its Secret on every replica.
type caWatcher struct {
	client    client.Client
	namespace string
	secret    string
	issuer    *identity.Issuer
	log       logr.Logger
}

// NeedLeaderElection is false: every replica serves certificates.
func (f *caWatcher) NeedLeaderElection() bool { return false }

// Start re-reads the Secret every minute until ctx ends.
func (f *caWatcher) Start(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		var s corev1.Secret
		if err := f.client.Get(ctx, types.NamespacedName{Namespace: f.namespace, Name: f.secret}, &s); err != nil {
			f.log.Error(err, "Authority not readable, going on with the last one", "name", f.secret)
			continue
		}
		a, err := identity.ParseAuthority(s.Data)
		if err != nil {
			f.log.Error(err, "Authority not usable, going on with the last one", "name", f.secret)
			continue
		}
		f.issuer.Use(a)
	}
}

// caRotator is the leader's part: it renews authorities in time and keeps the roots in the webhook configurations. A new root is
// published in them before any replica signs under it, because followers switch only after it has been stored.
type caRotator struct {
	client    client.Client
	namespace string
	log       logr.Logger
}

// NeedLeaderElection is true: one writer is enough.
func (k *caRotator) NeedLeaderElection() bool { return true }

// Start checks at once and then every 10 seconds until ctx ends, because somebody may apply the configurations again at any time.
func (k *caRotator) Start(ctx context.Context) error {
	const period = 10 * time.Second
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		if err := k.check(ctx); err != nil && ctx.Err() == nil {
			k.log.Error(err, "Certificates not up to date, trying again", "duration", period)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (k *caRotator) check(ctx context.Context) error {
	a, err := loadAuthority(ctx, k.client, k.namespace, operatorAuthoritySecret, operatorAuthorityLife)
	if err != nil {
		return err
	}
	if a.Due(time.Now()) {
		if a, err = k.renew(ctx, a); err != nil {
			return err
		}
	}
	return k.publish(ctx, a.Bundle())
}

func (k *caRotator) renew(ctx context.Context, a *identity.Authority) (*identity.Authority, error) {
	next, err := a.Renew(time.Now())
	if err != nil {
		return nil, err
	}
	// The bundle must be trusted before anybody serves under it.
	if err := k.publish(ctx, next.Bundle()); err != nil {
		return nil, err
	}
	data, err := next.Data()
	if err != nil {
		return nil, err
	}
	var s corev1.Secret
	if err := k.client.Get(ctx, types.NamespacedName{Namespace: k.namespace, Name: operatorAuthoritySecret}, &s); err != nil {
		return nil, err
	}
	s.Data = data
	if err := k.client.Update(ctx, &s); err != nil {
		return nil, fmt.Errorf("store the renewed authority: %w", err)
	}
	k.log.Info("Authority renewed", "name", operatorAuthoritySecret)
	return next, nil
}

// publish writes the roots into both webhook configurations where they differ.
func (k *caRotator) publish(ctx context.Context, bundle []byte) error {
	var m admissionregistrationv1.MutatingWebhookConfiguration
	if err := k.client.Get(ctx, types.NamespacedName{Name: mutatingConfiguration}, &m); err != nil {
		return fmt.Errorf("read %s: %w", mutatingConfiguration, err)
	}
	before := m.DeepCopy()
	changed := false
	for i := range m.Webhooks {
		changed = setBundle(&m.Webhooks[i].ClientConfig, bundle) || changed
	}
	if changed {
		if err := k.client.Patch(ctx, &m, client.MergeFrom(before)); err != nil {
			return fmt.Errorf("write the roots into %s: %w", mutatingConfiguration, err)
		}
	}
	var v admissionregistrationv1.ValidatingWebhookConfiguration
	if err := k.client.Get(ctx, types.NamespacedName{Name: validatingConfiguration}, &v); err != nil {
		return fmt.Errorf("read %s: %w", validatingConfiguration, err)
	}
	old := v.DeepCopy()
	changed = false
	for i := range v.Webhooks {
		changed = setBundle(&v.Webhooks[i].ClientConfig, bundle) || changed
	}
	if changed {
		if err := k.client.Patch(ctx, &v, client.MergeFrom(old)); err != nil {
			return fmt.Errorf("write the roots into %s: %w", validatingConfiguration, err)
		}
	}
	return nil
}

func setBundle(c *admissionregistrationv1.WebhookClientConfig, bundle []byte) bool {
	if string(c.CABundle) == string(bundle) {
		return false
	}
	c.CABundle = bundle
	return true
}
