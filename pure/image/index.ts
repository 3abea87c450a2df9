export { imageConfig, imageSettings, type ImageSettings } from './config.ts';
export { imageManifest, type ImageManifest } from './manifest.ts';
export { imageDigest, parseImageReference, type ImageReference } from './reference.ts';
export { resolveInRoot, type Found } from './resolve.ts';
export { EntryRefused, ImageTree, modeOf, type LayerEntry, type Step } from './tree.ts';
