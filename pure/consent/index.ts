export * from './shown.ts';
export { grantState } from './grant-state.ts';
export {
  closeTurn,
  expireTurn,
  noTurns,
  openTurn,
  stampOf,
  type Named,
  type Stamp,
  type Turn,
  type TurnState,
} from './turns.ts';
export * from './fatigue.ts';
