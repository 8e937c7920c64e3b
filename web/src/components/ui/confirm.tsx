import { Button } from "./button";
import { Dialog } from "./dialog";

interface ConfirmProps {
  isOpen: boolean;
  onClose: () => void;
  onConfirm: () => void;
  title: string;
  text: string;
  action: string;
}

/** Asks before something that cannot be undone. */
export function Confirm({ isOpen, onClose, onConfirm, title, text, action }: ConfirmProps) {
  const confirm = (): void => {
    onClose();
    onConfirm();
  };
  return (
    <Dialog isOpen={isOpen} onClose={onClose} title={title} description={text}>
      <div className="flex justify-end gap-2 pt-3">
        <Button look="soft" onClick={onClose}>
          Cancel
        </Button>
        <Button look="danger" onClick={confirm}>
          {action}
        </Button>
      </div>
    </Dialog>
  );
}
