export { Images, type Image, type ImagesOptions, type Progress } from './images.ts';
