// Writes the documents that are made from code. `npm run docs`.
import { writeFileSync } from 'node:fs';
import { cliDocument } from './cli-document.ts';
import { hostExecutedDocument } from './host-executed-document.ts';
import { subjectDocs } from '../pure/contracts/index.ts';
import { scopesDocument } from './scopes-document.ts';
import { cedarSchema } from '../pure/compile/index.ts';
import { limitsDocument } from './limits-document.ts';
import { toolsDocument } from './tools-document.ts';
import { metricsDocument } from './metrics-document.ts';

writeFileSync(new URL('../docs/limits.md', import.meta.url), limitsDocument());
writeFileSync(new URL('../docs/host-executed.md', import.meta.url), hostExecutedDocument());
writeFileSync(new URL('../docs/subjects.md', import.meta.url), subjectDocs());
writeFileSync(new URL('../docs/cli.md', import.meta.url), cliDocument());
writeFileSync(new URL('../docs/scopes.md', import.meta.url), scopesDocument());
writeFileSync(new URL('../deploy/cedar/glovebox.cedarschema', import.meta.url), cedarSchema());
writeFileSync(new URL('../docs/metrics.md', import.meta.url), metricsDocument());
writeFileSync(new URL('../docs/tools.md', import.meta.url), toolsDocument());
