# The decision on one operation of a session. The session's own policy comes with the question; what an organisation adds
# (package organisation, in a bundle of its own) can only take away from it.
package glovebox

default decision := {"decision": "deny", "rule": "tools.none"}

decision := {"decision": "deny", "rule": sprintf("organisation.%s", [sort(refusals)[0]])} if {
	count(refusals) > 0
} else := {"decision": "allow", "rule": allowing[0]} if {
	count(allowing) > 0
} else := {"decision": "ask", "rule": asking[0]} if {
	count(asking) > 0
}

refusals contains reason if some reason in data.organisation.deny

# The first in the document that takes the operation in.
allowing := [rule.id | some rule in input.policy.allow; takes_in(rule)]

asking := [rule.id | some rule in input.policy.ask; takes_in(rule)]

takes_in(rule) if {
	rule.domain == input.operation.domain
	verb_fits(rule)
	prefix_fits(rule)
	rest_fits(rule)
}

verb_fits(rule) if rule.verb == null

verb_fits(rule) if rule.verb == input.operation.verb

segments := input.operation.segments

prefix_fits(rule) if {
	count(rule.prefix) <= count(segments)
	every index, wanted in rule.prefix {
		segment_fits(wanted, segments[index])
	}
}

# Without `**` the depth is that of the prefix.
rest_fits(rule) if {
	rule.suffix == null
	count(segments) == count(rule.prefix)
}

rest_fits(rule) if {
	is_array(rule.suffix)
	start := count(segments) - count(rule.suffix)
	start >= count(rule.prefix)
	every index, wanted in rule.suffix {
		segment_fits(wanted, segments[start + index])
	}
}

segment_fits(wanted, given) if wanted.is == given

# RE2: linear in the length, whatever the pattern.
segment_fits(wanted, given) if regex.match(wanted.like, given)
