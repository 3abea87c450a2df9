export { WorkloadSocket, type WorkloadSocketOptions } from './workload-socket.ts';
