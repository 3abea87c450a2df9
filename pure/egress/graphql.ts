import { Kind, parse, type DocumentNode, type OperationDefinitionNode } from 'graphql';
import { matchText } from './glob.ts';

export interface GraphqlRule {
  readonly operations: readonly ('query' | 'mutation' | 'subscription')[];
  /** Patterns of the fields at an operation's top; none: any. */
  readonly fields: readonly string[];
}

/**
 * What is wrong with a GraphQL request (GraphQL over HTTP, a JSON body of one request); null: nothing. Each operation in the document
 * has to fit, whichever `operationName` picks. A document that is only named by its hash (persisted queries) cannot be judged.
 */
export function graphqlProblem(rule: GraphqlRule, body: unknown): string | null {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    return 'the body is not one GraphQL request';
  const { query } = body as { query?: unknown };
  if (typeof query !== 'string') return 'the body names no GraphQL document';
  let document: DocumentNode;
  try {
    document = parse(query, { maxTokens: 10_000, noLocation: true });
  } catch {
    return 'the GraphQL document does not parse';
  }
  const operations = document.definitions.filter(
    (definition): definition is OperationDefinitionNode => definition.kind === Kind.OPERATION_DEFINITION,
  );
  if (operations.length === 0) return 'the GraphQL document has no operation';
  for (const operation of operations) {
    if (!rule.operations.includes(operation.operation))
      return `the rule allows no GraphQL ${operation.operation}`;
    if (rule.fields.length === 0) continue;
    for (const selection of operation.selectionSet.selections) {
      if (selection.kind !== Kind.FIELD) return 'a rule on fields allows no fragment at an operation’s top';
      const name = selection.name.value;
      if (name !== '__typename' && !rule.fields.some((pattern) => matchText(pattern, name)))
        return `the rule does not allow the GraphQL field ${name}`;
    }
  }
  return null;
}
