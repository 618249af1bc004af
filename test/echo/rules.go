package main

import (
	"math/rand/v2"
	"net/http"
	"time"
)

// healthChecker is how Envoy's active health checks name themselves.
const healthChecker = "Envoy/HC"

// rules applies the first rule that matches. It is true when the answer has been given.
func (e *echo) rules(w http.ResponseWriter, r *http.Request) bool {
	if r.UserAgent() == healthChecker {
		return false
	}
	for _, rule := range e.config.Rules {
		if !e.matches(rule.When, r) {
			continue
		}
		select {
		case <-time.After(time.Duration(rule.DelaySeconds * float64(time.Second))):
		case <-r.Context().Done():
			return true
		}
		if e.fault(rule.Fault) {
			http.Error(w, e.identity(localAddress(r)), http.StatusInternalServerError)
			return true
		}
		if status := rule.status(); status != http.StatusOK {
			http.Error(w, e.identity(localAddress(r)), status)
			return true
		}
		return false
	}
	return false
}

// status draws one of the rule's statuses.
func (r Rule) status() int {
	if len(r.Statuses) == 0 {
		return http.StatusOK
	}
	return r.Statuses[rand.IntN(len(r.Statuses))]
}

// fault remembers or forgets a fault; it is true when the request has to fail because of one.
func (e *echo) fault(what string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch what {
	case "begin":
		e.ill = true
	case "end":
		e.ill = false
	case "obey":
		return e.ill
	}
	return false
}
