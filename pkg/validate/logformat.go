package validate

import (
	"fmt"
	"regexp"
	"strings"
)

// operand says what may follow the name of an access log operator.
type operand struct {
	// argument matches what stands in the parentheses; nil allows none.
	argument *regexp.Regexp
	// optional allows the operator without its argument.
	optional bool
	// length allows a maximal length behind a colon.
	length bool
}

// Arguments of operators. Header names may begin with a colon; a second one, behind a question mark, replaces the first.
var (
	headerArgument   = regexp.MustCompile(`^:?[A-Za-z0-9_.!#$&'*+^|~-]+(\?:?[A-Za-z0-9_.!#$&'*+^|~-]+)?$`)
	timeArgument     = regexp.MustCompile(`^[^\n\r\x00]*$`)
	pathArgument     = regexp.MustCompile(`^[^()\n\r\x00]+$`)
	stateArgument    = regexp.MustCompile(`^[^():\n\r\x00]+(:(PLAIN|TYPED))?$`)
	metadataArgument = regexp.MustCompile(`^(ROUTE|CLUSTER|DYNAMIC):[^()\n\r\x00]+$`)
	durationArgument = regexp.MustCompile(`^[A-Za-z0-9_]+:[A-Za-z0-9_]+(:(ms|us|ns))?$`)
	grpcArgument     = regexp.MustCompile(`^(CAMEL_STRING|SNAKE_STRING|NUMBER)$`)
	detailsArgument  = regexp.MustCompile(`^ALLOW_WHITESPACES$`)
)

// operators are the access log operators that the oldest and the newest supported Envoy know. Expressions (CEL) are not among
// them: whether one is valid cannot be told here.
var operators = func() map[string]operand {
	all := map[string]operand{
		"PATH":                  {length: true},
		"GRPC_STATUS":           {argument: grpcArgument, optional: true},
		"RESPONSE_CODE_DETAILS": {argument: detailsArgument, optional: true},
		"COMMON_DURATION":       {argument: durationArgument},
		"METADATA":              {argument: metadataArgument},
	}
	add := func(names string, o operand) {
		for name := range strings.FieldsSeq(names) {
			all[name] = o
		}
	}
	add(PlainOperators, operand{})
	add("REQ RESP TRAILER REQUEST_HEADER RESPONSE_HEADER RESPONSE_TRAILER", operand{argument: headerArgument, length: true})
	add("FILTER_STATE UPSTREAM_FILTER_STATE", operand{argument: stateArgument, length: true})
	add("DYNAMIC_METADATA ENVIRONMENT QUERY_PARAM", operand{argument: pathArgument, length: true})
	add("CLUSTER_METADATA UPSTREAM_METADATA", operand{argument: pathArgument})
	add(`START_TIME START_TIME_LOCAL EMIT_TIME EMIT_TIME_LOCAL DOWNSTREAM_PEER_CERT_V_START DOWNSTREAM_PEER_CERT_V_END
		UPSTREAM_PEER_CERT_V_START UPSTREAM_PEER_CERT_V_END`, operand{argument: timeArgument, optional: true})
	return all
}()

// PlainOperators are the names of those operators, separated by blanks, that take neither argument nor length.
const PlainOperators = `
ACCESS_LOG_TYPE BYTES_RECEIVED BYTES_RETRANSMITTED BYTES_SENT CONNECTION_ID CONNECTION_TERMINATION_DETAILS CUSTOM_FLAGS
DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT
DOWNSTREAM_DIRECT_LOCAL_ADDRESS DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT
DOWNSTREAM_DIRECT_LOCAL_PORT DOWNSTREAM_DIRECT_REMOTE_ADDRESS DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT
DOWNSTREAM_DIRECT_REMOTE_PORT DOWNSTREAM_HANDSHAKE_DURATION DOWNSTREAM_HEADER_BYTES_RECEIVED DOWNSTREAM_HEADER_BYTES_SENT
DOWNSTREAM_LOCAL_ADDRESS DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT DOWNSTREAM_LOCAL_DNS_SAN
DOWNSTREAM_LOCAL_EMAIL_SAN DOWNSTREAM_LOCAL_IP_SAN DOWNSTREAM_LOCAL_OTHERNAME_SAN DOWNSTREAM_LOCAL_PORT
DOWNSTREAM_LOCAL_SUBJECT DOWNSTREAM_LOCAL_URI_SAN DOWNSTREAM_PEER_CERT DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1
DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256 DOWNSTREAM_PEER_CHAIN_SERIALS DOWNSTREAM_PEER_DNS_SAN DOWNSTREAM_PEER_EMAIL_SAN
DOWNSTREAM_PEER_FINGERPRINT_1 DOWNSTREAM_PEER_FINGERPRINT_256 DOWNSTREAM_PEER_IP_SAN DOWNSTREAM_PEER_ISSUER
DOWNSTREAM_PEER_OTHERNAME_SAN DOWNSTREAM_PEER_SERIAL DOWNSTREAM_PEER_SUBJECT DOWNSTREAM_PEER_URI_SAN DOWNSTREAM_REMOTE_ADDRESS
DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT DOWNSTREAM_REMOTE_PORT DOWNSTREAM_TLS_CIPHER DOWNSTREAM_TLS_SESSION_ID
DOWNSTREAM_TLS_VERSION DOWNSTREAM_TRANSPORT_FAILURE_REASON DOWNSTREAM_WIRE_BYTES_RECEIVED DOWNSTREAM_WIRE_BYTES_SENT DURATION
FILTER_CHAIN_NAME GRPC_STATUS_NUMBER HOSTNAME LOCAL_REPLY_BODY PACKETS_RETRANSMITTED PROTOCOL REQUESTED_SERVER_NAME
REQUEST_DURATION REQUEST_HEADERS_BYTES REQUEST_TX_DURATION RESPONSE_CODE RESPONSE_DURATION RESPONSE_FLAGS RESPONSE_FLAGS_LONG
RESPONSE_HEADERS_BYTES RESPONSE_TRAILERS_BYTES RESPONSE_TX_DURATION ROUNDTRIP_DURATION ROUTE_NAME STREAM_ID TLS_JA3_FINGERPRINT
TLS_JA4_FINGERPRINT TRACE_ID UNIQUE_ID UPSTREAM_CLUSTER UPSTREAM_CLUSTER_RAW UPSTREAM_CONNECTION_ID
UPSTREAM_CONNECTION_POOL_READY_DURATION UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT
UPSTREAM_HEADER_BYTES_RECEIVED UPSTREAM_HEADER_BYTES_SENT UPSTREAM_HOST UPSTREAM_HOST_NAME UPSTREAM_HOST_NAME_WITHOUT_PORT
UPSTREAM_LOCAL_ADDRESS UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT UPSTREAM_LOCAL_DNS_SAN UPSTREAM_LOCAL_IP_SAN UPSTREAM_LOCAL_PORT
UPSTREAM_LOCAL_URI_SAN UPSTREAM_PEER_CERT UPSTREAM_PEER_DNS_SAN UPSTREAM_PEER_IP_SAN UPSTREAM_PEER_ISSUER UPSTREAM_PEER_SUBJECT
UPSTREAM_PEER_URI_SAN UPSTREAM_PROTOCOL UPSTREAM_REMOTE_ADDRESS UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID
UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT UPSTREAM_REMOTE_PORT UPSTREAM_REQUEST_ATTEMPT_COUNT UPSTREAM_TLS_CIPHER
UPSTREAM_TLS_SESSION_ID UPSTREAM_TLS_VERSION UPSTREAM_TRANSPORT_FAILURE_REASON UPSTREAM_WIRE_BYTES_RECEIVED
UPSTREAM_WIRE_BYTES_SENT VIRTUAL_CLUSTER_NAME`

// operatorPattern is one operator: name, argument in parentheses, maximal length.
var operatorPattern = regexp.MustCompile(`^%([A-Z0-9_]+)(\(([^)]*)\))?(:[0-9]{1,6})?%`)

// LogFormat says why Envoy might refuse an access log format, or nil. It rather refuses too much: one line that Envoy cannot
// parse would cost the whole listener.
func LogFormat(format string) error {
	for {
		at := strings.IndexByte(format, '%')
		if at < 0 {
			return nil
		}
		format = format[at:]
		if strings.HasPrefix(format, "%%") {
			format = format[2:]
			continue
		}
		match := operatorPattern.FindStringSubmatch(format)
		if match == nil {
			return fmt.Errorf("%.30q is not an operator; a percent sign itself is written %%%%", format)
		}
		if err := checkOperator(match[1], match[2] != "", match[3], match[4] != ""); err != nil {
			return err
		}
		format = format[len(match[0]):]
	}
}

// checkOperator judges one operator. parentheses and length say whether they are there.
func checkOperator(name string, parentheses bool, argument string, length bool) error {
	o, known := operators[name]
	switch {
	case !known:
		return fmt.Errorf("there is no operator %s that every supported Envoy knows", name)
	case length && !o.length:
		return fmt.Errorf("operator %s takes no length", name)
	case argument == "" && (o.argument == nil || o.optional):
		return nil
	case o.argument == nil:
		return fmt.Errorf("operator %s takes no argument", name)
	case !parentheses:
		return fmt.Errorf("operator %s needs an argument in parentheses", name)
	case !o.argument.MatchString(argument):
		return fmt.Errorf("operator %s cannot use the argument %q", name, argument)
	}
	return nil
}
