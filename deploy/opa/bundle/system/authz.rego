# Who may ask this server what: the holder of the token, for decisions, and nobody anything else. Whoever could write data or
# policies here would be the policy.
package system.authz

default allow := false

allow if {
	input.method == "POST"
	input.path == ["v1", "data", "glovebox", "decision"]
	token_is_right
}

# Says nothing but that the server and its bundles are there.
allow if {
	input.method == "GET"
	input.path == ["health"]
}

token_is_right if {
	expected := opa.runtime().env.GLOVEBOX_OPA_TOKEN_SHA256
	count(expected) == 64
	crypto.sha256(input.identity) == expected
}
