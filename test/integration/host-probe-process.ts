/** Gathers the facts of this host as the user that it runs as; prints them. Arguments: the tools as JSON. */
import { gatherFacts, type HostTools } from '../../trusted/drivers/index.ts';

const tools = JSON.parse(process.argv[2] ?? '') as HostTools;
process.stdout.write(JSON.stringify(await gatherFacts(tools)));
