export {
  controllers,
  describeFacts,
  neededTools,
  platforms,
  profileName,
  type Attempt,
  type Controller,
  type HostFacts,
  type NeededTool,
  type Platform,
} from './facts.ts';
export { judgeHost, waivable } from './judge.ts';
